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

/// What every manifest has in it; a file without this text is some other tool's.
const OURS: &str = "lowops.manifests";

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
    let bytes = &file.bytes;
    if bytes.len() > limits::LARGEST_FILE {
        let message = format!(
            "{} has {} bytes, {} are read",
            file.name,
            bytes.len(),
            limits::LARGEST_FILE
        );
        let problem = error(Code::FileTooLarge, message).hint(
            "Divide it into several files, or name it in `.gitignore` if it is none of yours.",
        );
        return Parsed {
            documents: Vec::new(),
            problems: vec![problem.at(file.start())],
        };
    }
    match str::from_utf8(bytes) {
        Ok(text) => parse_text(file, text),
        Err(cause) => Parsed {
            documents: Vec::new(),
            problems: vec![not_utf8(file, &cause)],
        },
    }
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
    if file.is_json()
        && let Err(error) = json_syntax(text)
    {
        report_syntax(&context, &error, text);
        return Parsed {
            documents: Vec::new(),
            problems: context.into_problems(),
        };
    }
    let mut documents = Vec::new();
    for (index, document) in syntax::documents(text).enumerate() {
        match &document.root {
            Ok(root) => {
                let origin = Origin::new(file, index);
                documents.extend(decode_document(Input::root(&context, root), origin));
            }
            Err(error) => report_syntax(&context, error, document.text),
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

/// A text that cannot be read is an error where it may be a manifest. Repositories hold other
/// files that are called YAML, such as templates of Helm; those get a warning.
fn report_syntax(context: &Context<'_>, syntax: &SyntaxError, text: &str) {
    let language = if context.file.is_json() {
        "JSON"
    } else {
        "YAML"
    };
    let problem = error(
        Code::SyntaxError,
        format!("this is not {language}: {}", syntax.message),
    );
    let problem = if text.contains(OURS) {
        problem.hint(syntax.hint)
    } else {
        problem.warning().hint(
            "It is passed over, as it does not seem to be a manifest. Name it in `.gitignore` to \
             silence this.",
        )
    };
    context.report(problem.at(context.place(syntax.span)));
}

fn not_utf8(file: &SourceFile, cause: &std::str::Utf8Error) -> Problem {
    let bytes = &file.bytes;
    let before = bytes.get(..cause.valid_up_to()).unwrap_or_default();
    let line = before.split(|byte| *byte == b'\n').count();
    let from = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |index| index + 1);
    let column = String::from_utf8_lossy(before.get(from..).unwrap_or_default())
        .chars()
        .count();
    let mut place = file.start();
    place.line = u32::try_from(line).unwrap_or(u32::MAX);
    place.column = u32::try_from(column + 1).unwrap_or(u32::MAX);
    let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let ours = bytes
        .windows(OURS.len())
        .any(|window| window == OURS.as_bytes());
    let problem = error(Code::NotUtf8, format!("{} is not text in UTF-8", file.name));
    let problem = match (is_utf16, ours) {
        (true, _) => problem.hint("It looks like UTF-16; save it as UTF-8."),
        (false, true) => problem.hint("Save it as UTF-8."),
        (false, false) => problem.warning().hint(
            "It is passed over, as it does not seem to be a manifest. Name it in `.gitignore` to \
             silence this.",
        ),
    };
    problem.at(place)
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
        root.context
            .report(problem.at(root.context.place(version.span)));
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
