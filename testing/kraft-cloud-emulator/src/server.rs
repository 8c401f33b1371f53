//! Server of the emulator: accepts connections, injects errors, and records requests in the
//! journal.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};

use crate::answer::{Code, Fault};
use crate::audit;
use crate::builds;
use crate::control;
use crate::domains;
use crate::fault::{self, Kind};
use crate::http::{Request, Response};
use crate::routes;
use crate::world::{Dialect, Settings, World};

/// Maximum number of entries in the journal.
const MAX_JOURNAL: usize = 100_000;

/// State shared by all connections.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// Locks the state of the platform, with all due state transitions applied. After a panic of
    /// another thread, the state is still consistent enough to inspect.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = world.settle();
        for uuid in due.start {
            let shared = self.clone();
            std::thread::spawn(move || crate::machine::start(&shared, &uuid));
        }
        for uuid in due.remove {
            let shared = self.clone();
            std::thread::spawn(move || crate::machine::remove(&shared, &uuid));
        }
        world
    }
}

/// A running emulator; dropping it stops the server.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    shared: Shared,
    /// Runtime that serves the published ports.
    runtime: Option<Runtime>,
}

impl Emulator {
    /// Starts a server on an address (port 0 for any free port), which runs until the value is
    /// dropped.
    pub fn start(listen: SocketAddr, settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let world = World::new(settings, runtime.handle().clone());
        let shared = Shared(Arc::new(Mutex::new(world)));
        let (ending, sharing) = (Arc::clone(&over), shared.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = sharing.clone();
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Ok(Self {
            address,
            over,
            shared,
            runtime: Some(runtime),
        })
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the base URL of the API, which clients configure as a metro.
    pub fn endpoint(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // The listener blocks in `accept`; one more connection wakes it.
        let _ = TcpStream::connect(self.address);
        crate::machine::stop_all(&self.shared);
        self.shared.world().sandboxes.clear();
        // The directory exists only if a machine had a volume.
        let _ = std::fs::remove_dir_all(&self.shared.world().disks);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) {
    let Some(mut request) = Request::read(&stream) else {
        return;
    };
    let named = request.headers.get("x-emulator-dialect");
    let named = named.and_then(|year| Dialect::of(year));
    let dialect = named.unwrap_or_else(|| shared.world().settings.dialect);
    request.today = dialect == Dialect::V2026;
    let request = request;
    if domains::is_for_it(&request) {
        return domains::lead(shared, &request, stream);
    }
    if let Some(path) = request.path.strip_prefix("/_emulator/") {
        routes::admin::answer(shared, &request, path).send(&mut stream, false);
        return;
    }
    if request.today && request.path == "/v1/audit" && request.method == "GET" {
        if is_known(shared, &request) {
            audit::stream(shared, &request, stream);
        } else {
            unauthorized().send(&mut stream, false);
        }
        return;
    }
    let spoilt = fault::take(&mut shared.world().faults, &request);
    let answer = match &spoilt {
        Some(Kind::DropBefore) => None,
        Some(Kind::Status(status, pause)) => Some(refusal(*status, *pause)),
        Some(Kind::Redirect(location)) => {
            let mut response = refusal(307, None);
            response
                .headers
                .push(("Location".to_owned(), location.clone()));
            Some(response)
        }
        Some(Kind::Latency(delay)) => {
            std::thread::sleep(*delay);
            Some(answer(shared, &request))
        }
        Some(Kind::DropAfter | Kind::Half) | None => Some(answer(shared, &request)),
    };
    record(shared, &request, answer.as_ref(), spoilt.as_ref());
    if let (Some(answer), false) = (answer, matches!(spoilt, Some(Kind::DropAfter))) {
        answer.send(&mut stream, matches!(spoilt, Some(Kind::Half)));
    }
}

fn refusal(status: u16, pause: Option<u64>) -> Response {
    let mut response = Fault::new(Code::Failed, "on demand").whole(status);
    if let Some(seconds) = pause {
        let seconds = seconds.to_string();
        response.headers.push(("Retry-After".to_owned(), seconds));
    }
    response
}

/// Authenticates and routes a request. Without a valid token, every path gets the same response.
fn answer(shared: &Shared, request: &Request) -> Response {
    let known = is_known(shared, request);
    if let (true, Some(path)) = (
        request.today,
        request.path.strip_prefix("/controlplane/v1/"),
    ) {
        return control::answer(shared, request, path, known);
    }
    if let (true, Some(path)) = (request.today, request.path.strip_prefix("/build/v1/")) {
        return match known {
            true => builds::answer(shared, request, path),
            false => builds::refusal(401, "unauthenticated", "the token is not valid"),
        };
    }
    if !known {
        return unauthorized();
    }
    let Some(path) = request.path.strip_prefix("/v1/") else {
        return Fault::new(Code::NoSuchEndpoint, "No such endpoint").whole(404);
    };
    routes::answer(shared, request, path)
}

/// Returns whether a request has a valid token.
fn is_known(shared: &Shared, request: &Request) -> bool {
    let bearer = request.headers.get("authorization");
    let token = bearer.and_then(|text| text.strip_prefix("Bearer "));
    token.is_some_and(|token| {
        let world = shared.world();
        world.settings.tokens.iter().any(|one| one == token)
    })
}

fn unauthorized() -> Response {
    Fault::new(Code::Failed, "unauthorized").whole(401)
}

/// Records a request and its response; of a token, only its presence and its hash.
fn record(shared: &Shared, request: &Request, answer: Option<&Response>, spoilt: Option<&Kind>) {
    let mut headers = serde_json::Map::new();
    for (name, value) in &request.headers {
        let shown = match name.as_str() {
            "authorization" => {
                let hash = Sha256::digest(value.as_bytes());
                hash.iter().map(|byte| format!("{byte:02x}")).collect()
            }
            _ => value.clone(),
        };
        headers.insert(name.clone(), Value::String(shown));
    }
    let body = match request.body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&request.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&request.body).into_owned())),
    };
    let entry = json!({
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": headers,
        "body": without_key(body),
        "status": answer.map(|answer| answer.status),
        "answer": answer.map(|answer| &answer.body),
        "fault": spoilt.map(|kind| format!("{kind:?}")),
    });
    let mut world = shared.world();
    if world.journal.len() < MAX_JOURNAL {
        world.journal.push(entry);
    }
}

/// Replaces a private key in a body by a PEM placeholder, because the journal must not contain it.
fn without_key(mut body: Value) -> Value {
    if let Value::Array(items) = body {
        return Value::Array(items.into_iter().map(without_key).collect());
    }
    if let Some(key) = body.get_mut("pkey") {
        let form = "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----";
        *key = Value::String(form.to_owned());
    }
    body
}

/// Polling interval of a blocking request.
pub(crate) const LOOK: Duration = Duration::from_millis(5);
