//! One template out of many variants of a document.

use std::fmt;

use serde_json::Value;

/// Something of a template that is true or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch(pub(super) &'static str);

/// Which switches are on: a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting(u32);

impl Setting {
    /// Every combination, the one with everything first: what others have is in its order.
    pub(super) fn all(switches: usize) -> impl Iterator<Item = Self> {
        (0..1_u32 << switches).rev().map(Self)
    }

    /// Whether one of them is on.
    pub(super) fn has(self, switch: usize) -> bool {
        self.0 & (1 << switch) != 0
    }
}

/// A value as it is with a setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant<'a> {
    /// With which.
    pub(super) setting: Setting,
    /// As it is.
    pub(super) value: &'a Value,
}

/// What stands where a mark is found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// A whole value.
    pub(super) mark: Value,
    /// The list that what holds the mark is repeated for.
    pub(super) each: Option<&'static str>,
    /// An action that makes a YAML scalar.
    pub(super) text: &'static str,
}

/// On what something hangs: switches that are on and switches that are off.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition(Vec<(usize, bool)>);

impl Condition {
    fn holds(&self, setting: Setting) -> bool {
        self.0
            .iter()
            .all(|(switch, on)| setting.has(*switch) == *on)
    }

    /// The first of the shortest that holds for these among all, and for no other.
    fn of(among: &[Setting], these: &[Setting], switches: usize) -> Option<Self> {
        let fits = |one: &Self| {
            let mut all = among.iter();
            all.all(|setting| one.holds(*setting) == these.contains(setting))
        };
        let literals: Vec<(usize, bool)> = (0..switches)
            .flat_map(|switch| [(switch, true), (switch, false)])
            .collect();
        let mut tried = vec![Self(Vec::new())];
        // No right and no argument hangs on more than three things.
        for _length in 0..=3 {
            if let Some(found) = tried.iter().find(|one| fits(one)) {
                return Some(found.clone());
            }
            tried = tried
                .iter()
                .flat_map(|known| {
                    let longer = literals.iter().map(|literal| {
                        let mut longer = known.0.clone();
                        longer.push(*literal);
                        Self(longer)
                    });
                    longer.collect::<Vec<_>>()
                })
                .collect();
        }
        None
    }
}

/// The values of lists, each with the settings that have it, in an order that is that of every list.
pub(super) fn aligned<'a>(
    lists: impl Iterator<Item = (Setting, &'a [Value])>,
) -> Vec<Vec<Variant<'a>>> {
    let mut all: Vec<Vec<Variant<'a>>> = Vec::new();
    for (setting, list) in lists {
        let mut at = 0;
        for value in list {
            let variant = Variant { setting, value };
            let mut rest = all[at..].iter();
            match rest.position(|known| identity(known[0].value) == identity(value)) {
                Some(further) => {
                    at += further;
                    all[at].push(variant);
                }
                None => all.insert(at, vec![variant]),
            }
            at += 1;
        }
    }
    all
}

/// What makes two values of a list the same one: a name, or all of it.
fn identity(value: &Value) -> (&Value, &Value) {
    let name = [&value["metadata"]["name"], &value["name"]];
    let name = name.into_iter().find(|name| !name.is_null());
    (&value["kind"], name.unwrap_or(value))
}

fn settings(variants: &[Variant<'_>]) -> Vec<Setting> {
    variants.iter().map(|one| one.setting).collect()
}

/// Makes one document of its variants.
pub(super) fn document(
    switches: &[Switch],
    places: &[Place],
    universe: &[Setting],
    variants: &[Variant<'_>],
) -> String {
    let mut writer = Writer {
        switches,
        places,
        out: String::new(),
    };
    let these = settings(variants);
    writer.under((universe, &these), 0, |writer| {
        writer.out.push_str("---\n");
        writer.value(variants, 0);
    });
    writer.out
}

/// What is written so far.
struct Writer<'a> {
    switches: &'a [Switch],
    places: &'a [Place],
    out: String,
}

impl Writer<'_> {
    fn line(&mut self, indent: usize, text: impl fmt::Display) {
        self.out.push_str(&" ".repeat(indent));
        self.out.push_str(&text.to_string());
        self.out.push('\n');
    }

    /// Writes something under the condition that holds for these settings among all.
    fn under(
        &mut self,
        (among, these): (&[Setting], &[Setting]),
        indent: usize,
        write: impl FnOnce(&mut Self),
    ) {
        let condition = self.condition(among, these);
        if let Some(condition) = &condition {
            self.line(indent, format!("{{{{- if {condition} }}}}"));
        }
        write(self);
        if condition.is_some() {
            self.line(indent, "{{- end }}");
        }
    }

    /// What something hangs on; none: it is always there. What no condition says fails when the
    /// chart is used, and before that in a test.
    fn condition(&self, among: &[Setting], these: &[Setting]) -> Option<String> {
        let Some(found) = Condition::of(among, these, self.switches.len()) else {
            return Some("(fail \"no value says when this is there\")".to_owned());
        };
        let literals = found.0.iter().map(|(switch, on)| {
            let name = self.switches[*switch].0;
            if *on {
                name.to_owned()
            } else {
                format!("(not {name})")
            }
        });
        let literals: Vec<String> = literals.collect();
        match literals.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(format!("and {}", several.join(" "))),
        }
    }

    /// The list that something is repeated for: it, or what it is made of, is one mark.
    fn repeated(&self, value: &Value) -> Option<&'static str> {
        let mut fields = value.as_object().into_iter().flat_map(|one| one.values());
        let only = match (fields.next(), fields.next()) {
            (Some(only), None) => only,
            _ => value,
        };
        self.places.iter().find(|place| place.mark == *only)?.each
    }

    /// A value on lines of its own.
    fn value(&mut self, variants: &[Variant<'_>], indent: usize) {
        let first = variants[0].value;
        if first.is_object() {
            self.map(variants, indent);
        } else if first.is_array() {
            self.list(variants, indent);
        } else {
            let text = self.scalar(first);
            self.line(indent, text);
        }
    }

    fn map(&mut self, variants: &[Variant<'_>], indent: usize) {
        let among = settings(variants);
        let mut keys: Vec<&String> = variants
            .iter()
            .filter_map(|one| one.value.as_object())
            .flat_map(|fields| fields.keys())
            .collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let having = variants.iter().filter_map(|one| {
                let value = one.value.get(key)?;
                Some(Variant { value, ..*one })
            });
            let having: Vec<Variant<'_>> = having.collect();
            self.under((&among, &settings(&having)), indent, |writer| {
                writer.field(key, &having, indent);
            });
        }
    }

    fn field(&mut self, key: &str, variants: &[Variant<'_>], indent: usize) {
        let key = plain(key);
        let first = variants[0].value;
        let is_same = variants.iter().all(|one| one.value == first);
        match first {
            Value::Object(fields) if fields.is_empty() && is_same => {
                self.line(indent, format!("{key}: {{}}"));
            }
            Value::Array(items) if items.is_empty() && is_same => {
                self.line(indent, format!("{key}: []"));
            }
            Value::Object(_) => {
                self.line(indent, format!("{key}:"));
                self.map(variants, indent + 2);
            }
            Value::Array(_) => {
                self.line(indent, format!("{key}:"));
                self.list(variants, indent);
            }
            Value::String(text) if text.contains('\n') || !is_same => {
                self.line(indent, format!("{key}: |-"));
                self.text(variants, indent + 2);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let scalar = self.scalar(first);
                self.line(indent, format!("{key}: {scalar}"));
            }
        }
    }

    fn list(&mut self, variants: &[Variant<'_>], indent: usize) {
        let lists = variants.iter().filter_map(|one| {
            let list = one.value.as_array()?;
            Some((one.setting, list.as_slice()))
        });
        self.sequence(&settings(variants), lists, indent, Self::item);
    }

    fn item(&mut self, variants: &[Variant<'_>], indent: usize) {
        let repeated = self.repeated(variants[0].value);
        if let Some(list) = repeated {
            self.line(indent, format!("{{{{- range {list} }}}}"));
        }
        let start = self.out.len();
        self.value(variants, indent + 2);
        // The first line of an item bears its dash.
        let dash = start + indent..=start + indent;
        self.out.replace_range(dash, "-");
        if repeated.is_some() {
            self.line(indent, "{{- end }}");
        }
    }

    /// Lines of a text, some of which are not always there.
    fn text(&mut self, variants: &[Variant<'_>], indent: usize) {
        let texts = variants.iter().filter_map(|one| {
            let lines = one.value.as_str()?.lines().map(Value::from);
            Some((one.setting, lines.collect::<Vec<_>>()))
        });
        let texts: Vec<(Setting, Vec<Value>)> = texts.collect();
        let lists = texts
            .iter()
            .map(|(setting, lines)| (*setting, lines.as_slice()));
        self.sequence(
            &settings(variants),
            lists,
            indent,
            |writer, line, indent| {
                let text = line[0].value.as_str().unwrap_or_default();
                writer.line(indent, text);
            },
        );
    }

    /// What is in lists, neighbours that hang on the same under one condition.
    fn sequence<'v>(
        &mut self,
        among: &[Setting],
        lists: impl Iterator<Item = (Setting, &'v [Value])>,
        indent: usize,
        write: impl Fn(&mut Self, &[Variant<'v>], usize),
    ) {
        let all = aligned(lists);
        for alike in all.chunk_by(|one, next| settings(one) == settings(next)) {
            self.under((among, &settings(&alike[0])), indent, |writer| {
                for one in alike {
                    write(writer, one, indent);
                }
            });
        }
    }

    fn scalar(&self, value: &Value) -> String {
        let place = self.places.iter().find(|place| place.mark == *value);
        match (place, value) {
            (Some(place), _) => place.text.to_owned(),
            (None, Value::String(text)) => plain(text),
            (None, other) => other.to_string(),
        }
    }
}

/// A text as it may stand in YAML: without quotes where nothing else could be meant.
fn plain(text: &str) -> String {
    let mut letters = text.chars();
    let is_word = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_lowercase().as_str());
    if is_word {
        return text.to_owned();
    }
    Value::from(text).to_string()
}
