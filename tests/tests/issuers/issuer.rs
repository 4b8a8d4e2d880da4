//! An issuer: an HTTP server that answers as it is told and remembers what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::runtime::Runtime;

/// How it answers.
#[derive(Clone)]
pub(crate) enum Mood {
    /// with this JSON
    Json(String),
    /// with this JSON and this `Cache-Control`
    Cached(String, &'static str),
    /// with this status
    Status(u16),
    /// "look over there"
    Redirect(String),
    /// with this JSON, when nobody waits for it any more
    Slow(String),
    /// as this function makes of the body it is sent
    Asked(Arc<dyn Fn(&str) -> String + Send + Sync>),
}

/// One question as it arrived.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Clone)]
struct Shared {
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub(crate) struct Issuer {
    address: SocketAddr,
    shared: Shared,
    runtime: Option<Runtime>,
}

impl Issuer {
    pub(crate) fn new(mood: Mood) -> Self {
        let shared = Shared { mood: Arc::new(Mutex::new(mood)), seen: Arc::default() };
        let mut issuer = Self { address: (Ipv4Addr::LOCALHOST, 0).into(), shared, runtime: None };
        issuer.up();
        issuer
    }

    /// Listen, again at the same address.
    pub(crate) fn up(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(self.address)).unwrap();
        self.address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        self.runtime = Some(runtime);
    }

    /// Nobody listens any more.
    pub(crate) fn down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    shared.seen.lock().unwrap().push(Seen { path: uri.path().to_owned(), headers, body: body.clone() });
    let json = |text: String| ([(header::CONTENT_TYPE, "application/json")], text).into_response();
    let mood = shared.mood.lock().unwrap().clone();
    match mood {
        Mood::Json(text) => json(text),
        Mood::Cached(text, control) => ([(header::CACHE_CONTROL, control)], text).into_response(),
        Mood::Status(status) => (StatusCode::from_u16(status).unwrap(), "{}").into_response(),
        Mood::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Mood::Slow(text) => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            json(text)
        }
        Mood::Asked(make) => json(make(&body)),
    }
}
