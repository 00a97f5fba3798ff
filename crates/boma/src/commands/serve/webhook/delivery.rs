//! Whether a delivery is from the host of the repository. Pure: the time is an argument.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderMap;
use ring::{digest, hmac};

/// Deliveries that are remembered, so that none counts twice.
const REMEMBERED: usize = 4096;

/// Requests at once that are looked at.
const BURST: u32 = 30;

/// After these, one in this time.
const ONE_IN: Duration = Duration::from_millis(100);

/// Refusals are told in the log this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Somebody pushed.
    Fetch,
    /// It is good, and tells of something else.
    Ignored,
    /// There is no signature, or it is of another secret.
    Unsigned,
    /// It came before.
    Replayed,
    /// It is too large.
    TooLarge,
    /// There are too many of them.
    TooMany,
    /// It ended in the middle.
    Broken,
    /// It is a request for something else.
    NoSuchPath,
    /// It is no POST.
    WrongMethod,
}

impl Answer {
    /// What the sender is told.
    pub(super) fn said(self) -> (StatusCode, &'static str) {
        match self {
            Self::Fetch => (StatusCode::ACCEPTED, "The branch is fetched.\n"),
            Self::Ignored => (StatusCode::OK, "This is no push; nothing is done.\n"),
            Self::Unsigned => (StatusCode::UNAUTHORIZED, "The signature is not right.\n"),
            Self::Replayed => (StatusCode::CONFLICT, "This delivery came before.\n"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "This is too large.\n"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "Too many requests.\n"),
            Self::Broken => (StatusCode::BAD_REQUEST, "This ended in the middle.\n"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "There is nothing here.\n"),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "POST it.\n"),
        }
    }

    /// What goes into the log; none: nothing is wrong.
    pub(super) fn complaint(self) -> Option<&'static str> {
        match self {
            Self::Fetch | Self::Ignored => None,
            Self::Unsigned => Some("its signature is missing or wrong"),
            Self::Replayed => Some("it came before"),
            Self::TooLarge => Some("it is too large"),
            Self::TooMany => Some("there are too many"),
            Self::Broken => Some("it ended in the middle"),
            Self::NoSuchPath => Some("it asks for another path"),
            Self::WrongMethod => Some("it is no POST"),
        }
    }
}

/// What is known of deliveries.
pub(super) struct Deliveries {
    secret: hmac::Key,
    /// What a right GitLab token comes to.
    token: hmac::Tag,
    seen: HashSet<Vec<u8>>,
    order: VecDeque<Vec<u8>>,
    /// Requests that may still be looked at, and when that was counted.
    left: u32,
    counted: Instant,
    /// Refusals that the log was not told of, and when it was told last.
    unsaid: u64,
    told: Option<Instant>,
}

impl Deliveries {
    pub(super) fn new(secret: &[u8], now: Instant) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self {
            token: hmac::sign(&key, secret),
            secret: key,
            seen: HashSet::new(),
            order: VecDeque::new(),
            left: BURST,
            counted: now,
            unsaid: 0,
            told: None,
        }
    }

    /// Whether one more request may be looked at.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.counted);
        let more = since.as_millis() / ONE_IN.as_millis();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(BURST);
            self.left = self.left.saturating_add(more).min(BURST);
            self.counted = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    /// Whether the log is told of a refusal now; how many others it was not told of.
    pub(super) fn complain(&mut self, now: Instant) -> Option<u64> {
        let is_time = self
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if !is_time {
            self.unsaid += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    /// Judges one delivery. Good ones are remembered by what is signed, not by an identity that
    /// anybody could write anew.
    pub(super) fn judge(&mut self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let Some(proof) = self.proof(headers, body) else {
            return Answer::Unsigned;
        };
        if !self.seen.insert(proof.clone()) {
            return Answer::Replayed;
        }
        self.order.push_back(proof);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        if is_push(headers) {
            Answer::Fetch
        } else {
            Answer::Ignored
        }
    }

    /// What proves that the sender knows the secret, and is another one for each delivery. Comparing
    /// takes the same time wherever a guess goes wrong.
    fn proof(&self, headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
        let header = |name: &str| headers.get(name).map(hyper::header::HeaderValue::as_bytes);
        let github = header("x-hub-signature-256").map(|it| it.strip_prefix(b"sha256="));
        let gitea = header("x-gitea-signature").map(Some);
        if let Some(signature) = github.or(gitea) {
            let signature = from_hex(signature?)?;
            hmac::verify(&self.secret, body, &signature).ok()?;
            return Some(signature);
        }
        let token = header("x-gitlab-token")?;
        hmac::verify(&self.secret, token, self.token.as_ref()).ok()?;
        let mut all = digest::Context::new(&digest::SHA256);
        for name in ["x-gitlab-event-uuid", "idempotency-key"] {
            all.update(header(name).unwrap_or_default());
            all.update(b"\n");
        }
        all.update(body);
        Some(all.finish().as_ref().to_owned())
    }
}

/// Whether it tells of a push, by the name that each host has for it.
fn is_push(headers: &HeaderMap) -> bool {
    let names = ["x-github-event", "x-gitea-event", "x-gitlab-event"];
    let event = names.iter().find_map(|name| headers.get(*name));
    event.is_some_and(|event| event == "push" || event == "Push Hook")
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes = pairs.iter().map(|[high, low]| {
        let byte = digit(*high)? * 16 + digit(*low)?;
        u8::try_from(byte).ok()
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"It's a Secret to Everybody";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = hyper::header::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        pairs.collect()
    }

    fn signed(body: &[u8]) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), body);
        let digits = tag.as_ref().iter();
        digits.fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    fn hook() -> Deliveries {
        Deliveries::new(SECRET, Instant::now())
    }

    #[test]
    fn each_host_proves_itself_in_its_way() {
        // The example of GitHub's documentation.
        let known = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let github = headers(&[("x-hub-signature-256", known), ("x-github-event", "push")]);
        assert_eq!(hook().judge(&github, b"Hello, World!"), Answer::Fetch);
        let gitea = signed(b"{}");
        let gitea = headers(&[("x-gitea-signature", &gitea), ("x-gitea-event", "push")]);
        assert_eq!(hook().judge(&gitea, b"{}"), Answer::Fetch);
        let token = std::str::from_utf8(SECRET).unwrap();
        let gitlab = headers(&[("x-gitlab-token", token), ("x-gitlab-event", "Push Hook")]);
        assert_eq!(hook().judge(&gitlab, b"{}"), Answer::Fetch);
        let ping = headers(&[("x-hub-signature-256", known), ("x-github-event", "ping")]);
        assert_eq!(hook().judge(&ping, b"Hello, World!"), Answer::Ignored);
    }

    #[test]
    fn what_does_not_prove_itself_is_refused() {
        let right = format!("sha256={}", signed(b"{}"));
        let wrong = format!("sha256={}", signed(b"{} "));
        for pairs in [
            vec![],
            vec![("x-github-event", "push")],
            vec![("x-hub-signature-256", wrong.as_str())],
            vec![("x-hub-signature-256", &right[..right.len() - 2])],
            vec![("x-hub-signature-256", &right["sha256=".len()..])],
            vec![("x-hub-signature-256", "sha256=")],
            vec![("x-hub-signature-256", "sha256=zz")],
            vec![("x-gitea-signature", "")],
            vec![("x-gitlab-token", "")],
            vec![("x-gitlab-token", "It's a Secret to Everybod")],
            // A signature that is wrong is not made good by something else.
            vec![
                ("x-hub-signature-256", wrong.as_str()),
                ("x-gitlab-token", "It's a Secret to Everybody"),
            ],
        ] {
            assert_eq!(
                hook().judge(&headers(&pairs), b"{}"),
                Answer::Unsigned,
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn a_delivery_counts_once_whatever_it_calls_itself() {
        let mut hook = hook();
        let signature = format!("sha256={}", signed(b"{}"));
        let first = headers(&[
            ("x-hub-signature-256", &signature),
            ("x-github-event", "push"),
            ("x-github-delivery", "1"),
        ]);
        assert_eq!(hook.judge(&first, b"{}"), Answer::Fetch);
        let again = headers(&[
            (
                "x-hub-signature-256",
                &signature.to_uppercase().replace("SHA", "sha"),
            ),
            ("x-github-event", "push"),
            ("x-github-delivery", "2"),
        ]);
        assert_eq!(hook.judge(&again, b"{}"), Answer::Replayed);
        for number in 0..2 * REMEMBERED {
            let body = number.to_string();
            let signature = signed(body.as_bytes());
            let other = headers(&[("x-gitea-signature", &signature)]);
            assert_eq!(hook.judge(&other, body.as_bytes()), Answer::Ignored);
        }
        assert_eq!(
            (hook.seen.len(), hook.order.len()),
            (REMEMBERED, REMEMBERED)
        );
    }

    #[test]
    fn many_requests_are_looked_at_slowly_and_told_of_seldom() {
        let mut hook = hook();
        let now = hook.counted;
        let admitted = (0..100).filter(|_| hook.admit(now)).count();
        assert_eq!(admitted, 30);
        assert!(hook.admit(now + ONE_IN));
        assert!(!hook.admit(now + ONE_IN));
        let later = now + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| hook.admit(later)).count(), 30);
        assert_eq!(hook.complain(now), Some(0));
        assert_eq!(hook.complain(now + Duration::from_secs(1)), None);
        assert_eq!(hook.complain(now + TELL_EVERY), Some(1));
    }
}
