//! Listening, and leaving: SIGTERM drains what is under way and exits.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::{State, operations, public};

/// A listener cannot be opened or failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// the address is taken, or not ours
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// the address asked for
        address: SocketAddr,
        /// why
        #[source]
        source: std::io::Error,
    },
    /// a listener failed
    #[error("serving failed")]
    Serve(#[from] std::io::Error),
}

/// Open listeners; their addresses are known before anything is served.
pub struct Bound {
    public: TcpListener,
    operations: TcpListener,
}

/// Open both listeners.
pub async fn bind(public: SocketAddr, operations: SocketAddr) -> Result<Bound, ServeError> {
    let open = async |address| TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source });
    Ok(Bound { public: open(public).await?, operations: open(operations).await? })
}

impl Bound {
    /// The addresses: public, operations.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.operations.local_addr()?))
    }
}

/// Serve until `stop` completes, then finish what is under way.
pub async fn serve(
    bound: Bound,
    state: Arc<State>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stopping, stopped) = watch::channel(false);
    tokio::spawn(async move {
        stop.await;
        stopping.send_replace(true);
    });
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a reason to stop as well.
        let _gone = stopped.wait_for(|stop| *stop).await;
    };
    let public =
        axum::serve(bound.public, public(Arc::clone(&state)).into_make_service_with_connect_info::<SocketAddr>());
    let operations =
        axum::serve(bound.operations, operations(state).into_make_service_with_connect_info::<SocketAddr>());
    let public = public.with_graceful_shutdown(until(stopped.clone()));
    let operations = operations.with_graceful_shutdown(until(stopped));
    tokio::try_join!(public, operations)?;
    Ok(())
}
