//! Stores that fail on purpose.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::Notify;

/// What goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// This many of the next calls fail and do nothing.
    pub fail: u32,
    /// So many calls go well before those.
    pub after: u64,
    /// Each call takes this long, by tokio's clock.
    pub delay: Duration,
    /// The next writes store half of what they are given.
    pub torn: Option<Torn>,
    /// Names with this text in them are left out of listings, though they are there.
    pub hidden: Option<String>,
    /// Names with this text in them are listed, though they are not there.
    pub ghost: Option<String>,
    /// Listings show this, whatever is there.
    pub stale: Option<Vec<ObjectMeta>>,
    /// The call of this number, from 0 on, never comes back.
    pub hang: Option<Hang>,
}

/// What a torn write says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// That it failed.
    Failing,
    /// That it went well.
    Lying,
}

/// A call that never comes back: whoever made it dies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// Before anything was done.
    Before(u64),
    /// After all was done.
    After(u64),
}

/// A store in front of another one, that fails as it is told.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    troubles: Arc<Troubles>,
}

/// What calls go through, those of an upload as well.
#[derive(Debug, Default)]
struct Troubles {
    state: Mutex<State>,
    hung: Notify,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    calls: u64,
}

impl State {
    /// Counts a call; its number, and whether it fails.
    fn count(&mut self) -> (u64, bool) {
        let number = self.calls;
        self.calls += 1;
        let fails = self.faults.fail > 0 && number >= self.faults.after;
        self.faults.fail -= u32::from(fails);
        (number, fails)
    }
}

impl Faulty {
    /// Stands in front of `inner`; nothing goes wrong yet.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            troubles: Arc::default(),
        })
    }

    /// From now on this goes wrong, and calls are counted anew.
    pub fn set(&self, faults: Faults) {
        *self.lock() = State { faults, calls: 0 };
    }

    /// Calls since.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Waits until a call hangs.
    pub async fn hangs(&self) {
        self.troubles.hung.notified().await;
    }

    /// What is really there.
    pub async fn snapshot(&self) -> Result<Vec<ObjectMeta>> {
        self.inner.list(None).try_collect().await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.troubles.lock()
    }

    fn shown(&self, meta: &ObjectMeta) -> bool {
        let state = self.lock();
        let hidden = state.faults.hidden.as_ref();
        hidden.is_none_or(|text| !meta.location.as_ref().contains(text.as_str()))
    }

    fn ghost(&self) -> Option<ObjectMeta> {
        let name = self.lock().faults.ghost.clone()?;
        Some(ObjectMeta {
            location: Path::from(name),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size: 1,
            e_tag: None,
            version: None,
        })
    }
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: counts it, and lets it fail, wait or hang.
    async fn enter(&self) -> Result<u64> {
        let (number, delay, fails, hangs) = {
            let mut state = self.lock();
            let (number, fails) = state.count();
            let hangs = state.faults.hang == Some(Hang::Before(number));
            (number, state.faults.delay, fails, hangs)
        };
        if hangs {
            self.hang().await;
        }
        tokio::time::sleep(delay).await;
        if fails { Err(broken()) } else { Ok(number) }
    }

    /// Ends a call.
    async fn leave(&self, number: u64) {
        let hangs = self.lock().faults.hang == Some(Hang::After(number));
        if hangs {
            self.hang().await;
        }
    }

    async fn hang(&self) {
        self.hung.notify_one();
        std::future::pending::<()>().await;
    }

    /// What is stored of what is to be written.
    fn tear(&self, payload: PutPayload) -> (PutPayload, Option<Torn>) {
        let torn = self.lock().faults.torn;
        match torn {
            Some(_) => (half(&payload), torn),
            None => (payload, None),
        }
    }
}

/// An object that is uploaded in parts.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    troubles: Arc<Troubles>,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (payload, torn) = self.troubles.tear(payload);
        let part = self.inner.put_part(payload);
        let troubles = Arc::clone(&self.troubles);
        Box::pin(async move {
            let number = troubles.enter().await?;
            let result = part.await;
            troubles.leave(number).await;
            match torn {
                Some(Torn::Failing) => Err(broken()),
                Some(Torn::Lying) | None => result,
            }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let number = self.troubles.enter().await?;
        let result = self.inner.complete().await;
        self.troubles.leave(number).await;
        result
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "faulty",
        source: "it fails on purpose".into(),
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let number = self.troubles.enter().await?;
        let (payload, torn) = self.troubles.tear(payload);
        let result = self.inner.put_opts(location, payload, options).await;
        self.troubles.leave(number).await;
        match torn {
            Some(Torn::Failing) => Err(broken()),
            Some(Torn::Lying) | None => result,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let number = self.troubles.enter().await?;
        let upload = self.inner.put_multipart_opts(location, options).await;
        self.troubles.leave(number).await;
        Ok(Box::new(Upload {
            inner: upload?,
            troubles: Arc::clone(&self.troubles),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let number = self.troubles.enter().await?;
        let result = self.inner.get_opts(location, options).await;
        self.troubles.leave(number).await;
        result
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (_number, fails) = self.lock().count();
        if fails {
            return stream::once(async { Err(broken()) }).boxed();
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (fails, hidden, stale) = {
            let mut state = self.lock();
            let (_number, fails) = state.count();
            let faults = &state.faults;
            (fails, faults.hidden.clone(), faults.stale.clone())
        };
        if fails {
            return stream::once(async { Err(broken()) }).boxed();
        }
        if let Some(mut stale) = stale {
            let inside =
                |meta: &ObjectMeta| prefix.is_none_or(|one| meta.location.prefix_matches(one));
            stale.retain(inside);
            return stream::iter(stale.into_iter().map(Ok)).boxed();
        }
        let ghost = stream::iter(self.ghost().map(Ok));
        self.inner
            .list(prefix)
            .filter(move |found| {
                let shown = found.as_ref().is_ok_and(|meta| {
                    hidden
                        .as_ref()
                        .is_none_or(|text| !meta.location.as_ref().contains(text.as_str()))
                });
                std::future::ready(shown || found.is_err())
            })
            .chain(ghost)
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let number = self.troubles.enter().await?;
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.retain(|meta| self.shown(meta));
        self.troubles.leave(number).await;
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let number = self.troubles.enter().await?;
        let result = self.inner.copy_opts(from, to, options).await;
        self.troubles.leave(number).await;
        result
    }
}

fn half(payload: &PutPayload) -> PutPayload {
    let mut bytes = Vec::with_capacity(payload.content_length());
    for part in payload {
        bytes.extend_from_slice(part);
    }
    bytes.truncate(bytes.len() / 2);
    Bytes::from(bytes).into()
}
