//! Enough of a browser for the dashboard: a cookie, the secret of forms, headers as they are wanted.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context, Result};

/// Asks a dashboard.
#[derive(Clone, Debug)]
pub struct Browser {
    address: String,
    cookie: Option<String>,
    form: String,
    extra: Vec<(String, String)>,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// All of the body, as text.
    pub body: String,
}

impl Answer {
    /// The value of a header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(key, _)| key == name)?;
        Some(value)
    }

    /// The hidden fields of the last form.
    pub fn fields(&self) -> Vec<(String, String)> {
        let form = self.body.rsplit("<form").next().unwrap_or_default();
        let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
        inputs
            .filter_map(|input| {
                let (name, rest) = input.split_once("\" value=\"")?;
                let (value, _) = rest.split_once('"')?;
                Some((name.to_owned(), plain(value)))
            })
            .collect()
    }
}

fn plain(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&lt;", "<");
    text.replace("&gt;", ">").replace("&amp;", "&")
}

impl Browser {
    /// A browser that is not signed in, for the address of a link.
    pub fn at(link: &str) -> Result<Self> {
        let rest = link.strip_prefix("http://").context("a link")?;
        let (address, _) = rest.split_once('/').context("an address")?;
        Ok(Self {
            address: address.to_owned(),
            cookie: None,
            form: String::new(),
            extra: Vec::new(),
        })
    }

    /// The same browser, for another address.
    ///
    /// # Errors
    /// The link has no address.
    pub fn moved_to(&self, link: &str) -> Result<Self> {
        let address = Self::at(link)?.address;
        Ok(Self {
            address,
            ..self.clone()
        })
    }

    /// Where the dashboard is: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same, with one more header, or another in place of the usual one.
    #[must_use]
    pub fn with(&self, header: &str, value: &str) -> Self {
        Self {
            extra: vec![(header.to_owned(), value.to_owned())],
            ..self.clone()
        }
    }

    /// The same, with one more header beside those that were added before.
    #[must_use]
    pub fn and(&self, header: &str, value: &str) -> Self {
        let mut more = self.clone();
        more.extra.push((header.to_owned(), value.to_owned()));
        more
    }

    /// The answer to a link, which opens a session where it is good.
    ///
    /// # Errors
    /// The dashboard does not answer.
    pub fn follow(&mut self, link: &str) -> Result<Answer> {
        let rest = link.trim_end().split_once("://").context("a link")?.1;
        let (_, path) = rest.split_once('/').context("a path")?;
        self.get(&format!("/{path}"))
    }

    /// Sends JSON, as a program does.
    pub fn send(&mut self, method: &str, path: &str, body: &serde_json::Value) -> Result<Answer> {
        let is_typed = self.extra.iter().any(|(name, _)| name == "content-type");
        let mut sender = if is_typed {
            self.clone()
        } else {
            self.and("content-type", "application/json")
        };
        sender.ask(method, path, body.to_string().as_bytes(), None)
    }

    /// Forgets the secret of forms, as another site does not know it.
    pub fn forget_form(&mut self) {
        "AAAA".clone_into(&mut self.form);
    }

    /// Asks for a page.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        let answer = self.ask("GET", path, &[], None)?;
        if let Some((_, rest)) = answer.body.split_once("name=\"form\" value=\"") {
            rest.split('"')
                .next()
                .unwrap_or_default()
                .clone_into(&mut self.form);
        }
        Ok(answer)
    }

    /// Sends a form with the secret of this browser's session.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let mut sent = vec![("form".to_owned(), self.form.clone())];
        sent.extend(
            fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        self.post_as_sent(path, &sent)
    }

    /// Sends a form as it was read from a page.
    pub fn post_as_sent(&mut self, path: &str, fields: &[(String, String)]) -> Result<Answer> {
        let pairs = fields
            .iter()
            .map(|(key, value)| format!("{key}={}", escaped(value)));
        let body = pairs.collect::<Vec<_>>().join("&").into_bytes();
        self.ask("POST", path, &body, None)
    }

    /// Says that a form comes, and sends half of it.
    pub fn post_half(&mut self, path: &str) -> Result<Answer> {
        self.ask("POST", path, b"form=", Some(4096))
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        length: Option<usize>,
    ) -> Result<Answer> {
        let mut headers = vec![
            ("host", self.address.clone()),
            ("connection", "close".to_owned()),
        ];
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", format!("other=1; {cookie}")));
        }
        if method != "GET" {
            let kind = "application/x-www-form-urlencoded";
            headers.push(("content-type", kind.to_owned()));
            headers.push(("content-length", length.unwrap_or(body.len()).to_string()));
        }
        for (name, value) in &self.extra {
            headers.retain(|(key, _)| key != name);
            headers.push((name, value.clone()));
        }
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in headers {
            request.extend([name, ": ", &value, "\r\n"]);
        }
        request.push_str("\r\n");
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(request.as_bytes())?;
        // A server that has heard enough answers before it has read all.
        drop(stream.write_all(body));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let answer = Answer {
            status: status.context("a status")?.parse()?,
            headers,
            body: body.to_owned(),
        };
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        Ok(answer)
    }
}

/// As forms are sent.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
