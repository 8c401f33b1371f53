//! A web server on axum and tokio; it can keep requests waiting, and counts how many it held at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Answers after as many requests as `/hold/{number}` says were held at once, or after a minute. One that is
/// alone for three seconds is answered then: `ab` sends the others after the answer to its first one.
async fn hold(number: axum::extract::Path<usize>) -> String {
    let held = HELD.fetch_add(1, Ordering::SeqCst) + 1;
    MOST.fetch_max(held, Ordering::SeqCst);
    for tenths in 0..600 {
        let alone = tenths >= 30 && HELD.load(Ordering::SeqCst) == 1;
        if alone || MOST.load(Ordering::SeqCst) >= *number {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    HELD.fetch_sub(1, Ordering::SeqCst);
    "held\n".to_owned()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new()
        .route("/", get(async || "hello from axum\n"))
        .route("/hold/{number}", get(hold))
        .route(
            "/most",
            get(async || format!("{}\n", MOST.load(Ordering::SeqCst))),
        );
    let listener = tokio::net::TcpSocket::new_v4()?;
    listener.set_reuseaddr(true)?;
    listener.bind(([0, 0, 0, 0], 8080).into())?;
    axum::serve(listener.listen(1024)?, app).await
}
