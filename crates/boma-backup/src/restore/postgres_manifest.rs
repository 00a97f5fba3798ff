//! PostgreSQL's own `backup_manifest` for what was restored, so that `pg_verifybackup` can hold the
//! files against it ("Backup Manifest Format" in PostgreSQL's documentation).

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::digest;

use crate::format::hex;
use crate::format::manifest::Manifest;

/// From this major version on a manifest says whose it is.
const WITH_SYSTEM_IDENTIFIER: u32 = 17;

/// A file that is written beside those of the manifest.
pub(super) struct Extra<'a> {
    pub(super) path: &'a str,
    pub(super) content: &'a [u8],
}

/// Writes the text.
pub(super) fn render(manifest: &Manifest, extras: &[Extra<'_>]) -> String {
    let major: u32 = manifest
        .server
        .version
        .split(|letter: char| !letter.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default();
    let mut text = if major >= WITH_SYSTEM_IDENTIFIER {
        format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {},\n\"Files\": [",
            manifest.server.system_identifier
        )
    } else {
        "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [".to_owned()
    };
    let extras = extras.iter().map(|extra| {
        let size = extra.content.len() as u64;
        let crc = crc32c::crc32c(extra.content);
        (extra.path, size, manifest.span.stopped_at, crc)
    });
    let files = manifest
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.size, file.modified_at, file.crc32c));
    let lines: Vec<_> = extras.chain(files).map(line).collect();
    let span = &manifest.span;
    // Writing to a string does not fail.
    let _infallible = write!(
        text,
        "\n{}\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}\n],\n",
        lines.join(",\n"),
        span.timeline,
        span.start,
        span.stop,
    );
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    text.push_str("\"Manifest-Checksum\": \"");
    text.push_str(&hex::encode(sum.as_ref()));
    text.push_str("\"}\n");
    text
}

fn line((path, size, modified_at, crc): (&str, u64, Timestamp, u32)) -> String {
    let path = serde_json::Value::from(path);
    let modified = modified_at
        .to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M:%S GMT");
    let mut text = format!(
        "{{ \"Path\": {path}, \"Size\": {size}, \"Last-Modified\": \"{modified}\", \
         \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \""
    );
    // PostgreSQL writes the four bytes as they lie in memory.
    text.push_str(&hex::encode(&crc.to_le_bytes()));
    text.push_str("\" }");
    text
}
