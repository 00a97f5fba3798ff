//! Bytes to manifests.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use boma_problem::Problem;

use crate::application::Application;
use crate::database::Database;
use crate::decode::rules::check_application;
use crate::decode::{Context, Decode, Fields, Input};
use crate::limits;
use crate::manifest::{API_VERSIONS, Kind, Manifest};
use crate::metadata::Metadata;
use crate::origin::{Origin, SourceFile};
use crate::problems::{Code, error, nearest, one_of, quote};
use crate::syntax::{self, Node, Span, SyntaxError, Value};

/// What the apiVersion of every manifest has in it; a file without it is some other tool's.
const OURS: &[u8] = b"lowops";

/// Whether bytes may hold a manifest: the beginning of our apiVersion stands in them.
///
/// A file that cannot be read is an error only if it may hold a manifest. Repositories have other
/// files that are called YAML or JSON and are not, such as templates, or that are too large.
pub fn may_hold_manifest(bytes: &[u8]) -> bool {
    bytes
        .windows(OURS.len())
        .any(|window| window.eq_ignore_ascii_case(OURS))
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The manifests without errors, in the order in which they are written.
    pub documents: Vec<Manifest>,
    /// All problems, in that order; with one that is an error, nothing of the source should be
    /// acted on.
    pub problems: Vec<Problem>,
}

/// Parses a file: YAML of any number of documents, or JSON if its name ends in `.json`.
///
/// Documents of other tools are passed over. Whatever the bytes are, it answers: with manifests,
/// problems, or both.
pub fn parse(file: &str, bytes: &[u8]) -> Parsed {
    parse_file(&SourceFile::new(file, bytes))
}

/// Parses a file that is already shared; its manifests point into it.
pub fn parse_file(file: &Arc<SourceFile>) -> Parsed {
    let unreadable = match str::from_utf8(&file.bytes) {
        _ if file.bytes.len() > limits::LARGEST_FILE => too_large(file),
        Ok(text) => return parse_text(file, text),
        Err(cause) => not_utf8(file, &cause),
    };
    let mut parsed = Parsed::default();
    if may_hold_manifest(&file.bytes) || is_utf16(&file.bytes) {
        parsed.problems.push(unreadable);
    }
    parsed
}

/// Parses many files, on so many threads; the answers are in the order of the files.
pub fn parse_all(files: &[Arc<SourceFile>], threads: NonZero<usize>) -> Vec<Parsed> {
    /// Files that a thread takes at once: enough that taking costs nothing.
    const BATCH: usize = 64;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut batches = Vec::new();
        loop {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(rest) = files.get(from..).filter(|rest| !rest.is_empty()) else {
                return batches;
            };
            let batch: Vec<Parsed> = rest.iter().take(BATCH).map(parse_file).collect();
            batches.push((from, batch));
        }
    };
    let threads = threads.get().min(files.len().div_ceil(BATCH));
    let mut batches = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut batches = work();
        for other in others {
            batches.extend(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        batches
    });
    batches.sort_by_key(|(from, _)| *from);
    batches.into_iter().flat_map(|(_, batch)| batch).collect()
}

fn parse_text(file: &Arc<SourceFile>, text: &str) -> Parsed {
    let context = Context::new(file, text);
    let mut documents = Vec::new();
    let report = |error: &SyntaxError| {
        if may_hold_manifest(text.as_bytes()) {
            report_syntax(&context, error);
        }
    };
    if file.is_json()
        && let Err(error) = json_syntax(text)
    {
        report(&error);
        return Parsed {
            documents,
            problems: context.into_problems(),
        };
    }
    for (index, document) in syntax::documents(text).enumerate() {
        match &document {
            Ok(root) => {
                let origin = Origin::new(file, index);
                documents.extend(decode_document(Input::root(&context, root), origin));
            }
            Err(error) => report(error),
        }
        if context.is_full() {
            break;
        }
    }
    Parsed {
        documents,
        problems: context.into_problems(),
    }
}

/// Checks that a text is JSON. It is read as YAML afterwards, which all JSON is; this finds what
/// YAML would take and JSON does not.
fn json_syntax(text: &str) -> Result<(), SyntaxError> {
    if text.trim().is_empty() {
        return Ok(());
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(drop)
        .map_err(|error| {
            let line = error.line().max(1);
            let before = text
                .split_inclusive('\n')
                .take(line - 1)
                .map(str::len)
                .sum::<usize>();
            let within = text
                .get(before..)
                .and_then(|rest| rest.lines().next())
                .unwrap_or_default();
            // serde_json counts columns in bytes, from 1; at the end of the text it answers 0.
            let byte = error.column().saturating_sub(1).min(within.len());
            let column = within.get(..byte).map_or(byte, |part| part.chars().count()) + 1;
            let message = error.to_string();
            let message = message
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned();
            let span = Span {
                start: before + byte,
                end: before + byte,
                line: u32::try_from(line).unwrap_or(u32::MAX),
                column: u32::try_from(column).unwrap_or(u32::MAX),
            };
            let hint = "Mind commas and double quotes; JSON has no comments.";
            SyntaxError {
                message,
                hint,
                span,
            }
        })
}

fn report_syntax(context: &Context<'_>, syntax: &SyntaxError) {
    let language = if context.file.is_json() {
        "JSON"
    } else {
        "YAML"
    };
    let problem = error(
        Code::SyntaxError,
        format!("this is not {language}: {}", syntax.message),
    );
    context.report(problem.hint(syntax.hint), syntax.span);
}

fn too_large(file: &SourceFile) -> Problem {
    let (bytes, most) = (file.bytes.len(), limits::LARGEST_FILE);
    error(
        Code::FileTooLarge,
        format!("{} has {bytes} bytes, {most} are read", file.name),
    )
    .hint("Divide it into several files, or name it in `.gitignore` if it is none of yours.")
    .at(file.start())
}

fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

fn not_utf8(file: &SourceFile, cause: &std::str::Utf8Error) -> Problem {
    let before = file.bytes.get(..cause.valid_up_to()).unwrap_or_default();
    let line = before.split(|byte| *byte == b'\n').count();
    let within = before
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let column = String::from_utf8_lossy(within).chars().count() + 1;
    let mut place = file.start();
    place.line = u32::try_from(line).unwrap_or(u32::MAX);
    place.column = u32::try_from(column).unwrap_or(u32::MAX);
    error(Code::NotUtf8, format!("{} is not text in UTF-8", file.name))
        .hint(if is_utf16(&file.bytes) {
            "It looks like UTF-16; save it as UTF-8."
        } else {
            "Save it as UTF-8."
        })
        .at(place)
}

/// Decodes a document, if it is one of ours.
fn decode_document(root: Input<'_>, origin: Origin) -> Option<Manifest> {
    let node = root.node;
    if !is_ours(root) {
        return None;
    }
    let errors = root.context.errors();
    let mut fields = Fields::of(root)?;
    fields.with("apiVersion", |_| Some(()));
    let kind = fields.required::<Kind>("kind", "Database");
    let metadata = fields.required::<Metadata>("metadata", "");
    fields.with("computed", |computed| {
        let problem = error(
            Code::ComputedIgnored,
            "`computed` is written by the platform",
        )
        .hint("It is ignored here; remove it.");
        computed.report_name(problem.warning());
        Some(())
    });
    let manifest = match kind {
        Some(Kind::Database) => {
            let spec = fields.optional_or_empty("spec");
            decoded(metadata, spec, |metadata, spec| {
                Manifest::Database(Database {
                    metadata,
                    spec,
                    origin,
                })
            })
        }
        Some(Kind::Application) => {
            let spec = fields.optional_or_empty("spec");
            decoded(metadata, spec, |metadata, spec| {
                let application = Application {
                    metadata,
                    spec,
                    origin,
                };
                check_application(&application, Input::root(root.context, node));
                Manifest::Application(application)
            })
        }
        None => {
            fields.with("spec", |_| Some(()));
            None
        }
    };
    fields.finish();
    manifest.filter(|_| root.context.errors() == errors)
}

fn decoded<M, S>(
    metadata: Option<M>,
    spec: Option<S>,
    make: impl FnOnce(M, S) -> Manifest,
) -> Option<Manifest> {
    Some(make(metadata?, spec?))
}

impl Decode for Kind {
    fn decode(input: Input<'_>) -> Option<Self> {
        let text = input.string()?;
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        if found.is_none() {
            let names = Self::ALL.map(Self::as_str);
            let problem = error(
                Code::UnknownKind,
                format!("there is no kind {}", quote(text)),
            );
            input.report(match nearest(text, names) {
                Some(meant) => problem.hint(format!("Did you mean `{meant}`?")),
                None => problem.hint(format!("Write {}.", one_of(names))),
            });
        }
        found
    }
}

/// Whether a document is a manifest of ours. One that only nearly is, is reported: passed over,
/// what it describes would silently not exist.
fn is_ours(root: Input<'_>) -> bool {
    let Value::Mapping(_) = root.node.value() else {
        return false;
    };
    let Some(version) = root.node.get("apiVersion") else {
        return is_missing_only_its_version(root);
    };
    let Some(text) = version.text() else {
        return false;
    };
    if API_VERSIONS.contains(&text) {
        return true;
    }
    let nearly = text.to_ascii_lowercase().starts_with("lowops.")
        || API_VERSIONS
            .iter()
            .any(|ours| strsim::levenshtein(&short(text), ours) <= 3);
    if nearly {
        let message = format!("there is no apiVersion {}", quote(text));
        let problem =
            error(Code::UnknownApiVersion, message).hint(format!("Write `{}`.", API_VERSIONS[0]));
        root.context.report(problem, version.span);
    }
    false
}

/// The beginning of a text: the distance to a long one need not be measured.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn is_missing_only_its_version(root: Input<'_>) -> bool {
    let text = |node: Option<&Node<'_>>| node.and_then(|node| node.text()).map(str::to_owned);
    let kind = text(root.node.get("kind")).unwrap_or_default();
    let ours = Kind::ALL.into_iter().any(|known| known.as_str() == kind);
    let organization = root
        .node
        .get("metadata")
        .and_then(|data| data.get("organization"));
    if ours && organization.is_some() {
        let problem = error(Code::MissingField, "`apiVersion` is missing")
            .hint(format!("Add `apiVersion: {}`.", API_VERSIONS[0]));
        root.report_name(problem);
    }
    false
}
