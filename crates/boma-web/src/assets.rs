//! Everything that pages load, inside the binary. Names carry a hash of what they hold, so that a browser
//! may keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::failure::Failure;

/// A file that pages load.
struct Asset {
    path: String,
    kind: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, end: &str, kind: &'static str, bytes: &'static [u8]) -> Self {
        let hash = BASE64_URL_SAFE_NO_PAD.encode(&digest(&SHA256, bytes).as_ref()[..9]);
        Self {
            path: format!("/assets/{stem}-{hash}.{end}"),
            kind,
            bytes,
        }
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "boma",
        "css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/boma.css"),
    )
});
static HTMX: LazyLock<Asset> = LazyLock::new(|| {
    let kind = "text/javascript; charset=utf-8";
    Asset::new("htmx", "js", kind, include_bytes!("../assets/htmx.min.js"))
});
static LIVE: LazyLock<Asset> = LazyLock::new(|| {
    let kind = "text/javascript; charset=utf-8";
    Asset::new("live", "js", kind, include_bytes!("../assets/live.js"))
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "icon",
        "svg",
        "image/svg+xml",
        include_bytes!("../assets/icon.svg"),
    )
});

/// Where the style sheet is.
pub(crate) fn style() -> &'static str {
    &STYLE.path
}

/// Where htmx is.
pub(crate) fn htmx() -> &'static str {
    &HTMX.path
}

/// Where the script is that keeps pages alive.
pub(crate) fn live() -> &'static str {
    &LIVE.path
}

/// Where the icon is.
pub(crate) fn icon() -> &'static str {
    &ICON.path
}

/// Answers with a file.
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, Failure> {
    let all = [&STYLE, &HTMX, &LIVE, &ICON];
    let asset = all
        .into_iter()
        .find(|asset| asset.path.strip_prefix("/assets/") == Some(&*name))
        .ok_or_else(|| Failure::NotThere("file of that name".to_owned()))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
    ];
    Ok((headers, asset.bytes).into_response())
}
