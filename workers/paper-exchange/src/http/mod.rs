//! The wire: Binance's HTTP API, and the doors beside it.
//!
//! A request goes `serve` (host, weight, faults) → `world` (key, signature, time) → an endpoint of
//! `spot` or `usdm`, found in `routes`. `control` holds the doors that Binance does not have.

mod call;
mod candles;
mod clock;
mod context;
mod control;
mod journal;
mod meter;
mod refused;
mod routes;
mod security;
mod serve;
mod settings;
mod spot;
mod usdm;
mod window;
mod words;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use settings::{PaperSettings, RealTime, Speed, StartError};
use world::{World, lock};

use crate::exchange::Exchange;
use crate::model::{Account, Millis};

/// How long requests in flight may take to end when the server stops.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running paper exchange. Dropped, it stops.
pub struct PaperServer {
    world: Arc<World>,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl PaperServer {
    /// Makes the history and serves it. `real` is real time, in Unix milliseconds.
    pub async fn start(settings: PaperSettings, real: RealTime) -> Result<Self, StartError> {
        if !settings.bind.is_loopback() {
            tracing::warn!(address = %settings.bind, "the paper exchange is open to others than this machine");
        }
        let asked = SocketAddr::new(settings.bind, settings.port);
        let failed = |source| StartError::Bind { address: asked.to_string(), source };
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (bind, hosts) = (settings.bind, Arc::new(settings.hosts.clone()));
        let made = tokio::task::spawn_blocking(move || World::new(&settings, real)).await;
        let world = Arc::new(made.map_err(|error| StartError::History(error.to_string()))??);
        let door = serve::Door { world: Arc::clone(&world), hosts, bind };
        let app = Router::new().fallback(serve::handle).with_state(door);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let stopped = world.stop.clone().cancelled_owned();
        let ticking = Arc::clone(&world);
        let serving = tokio::spawn(async move {
            let ticker = tokio::spawn(tick(ticking));
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
                tracing::error!(error = %error, "the paper exchange stopped");
            }
            ticker.abort();
        });
        tracing::info!(address = %address, "the paper exchange serves play money");
        Ok(Self { world, address, serving: Some(serving) })
    }

    /// `http://127.0.0.1:9001`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The exchange itself, for tests that look behind the wire. Orders given here reach the journal
    /// with the next that comes over the wire.
    pub fn exchange(&self) -> Arc<Mutex<Exchange>> {
        Arc::clone(&self.world.exchange)
    }

    /// The accounts and their keys; the last is `acct-paper`.
    pub fn accounts(&self) -> &[Account] {
        &self.world.accounts
    }

    /// The exchange's time.
    pub fn now(&self) -> Millis {
        lock(&self.world.clock).now((self.world.real)())
    }

    /// Moves a clock in hand, and lets happen what happens until then.
    pub async fn move_to(&self, now: Millis) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        let moved = tokio::task::spawn_blocking(move || {
            lock(&world.clock).move_to(now, (world.real)())?;
            world.keep_time();
            drop(world.at_now());
            Ok(())
        });
        moved.await.map_err(|error| error.to_string())?.map_err(|error: &str| error.to_owned())
    }

    /// `PUT /faults`.
    pub fn set_faults(&self, rules: Value) -> Result<(), String> {
        self.world.faults.set(rules, (self.world.real)())
    }

    /// `GET /faults`.
    pub fn faults(&self) -> Value {
        self.world.faults.report()
    }

    /// `GET /meter`.
    pub fn meter(&self) -> Value {
        lock(&self.world.meter).report((self.world.real)())
    }

    /// Ends what is in flight, and stops.
    pub async fn stop(mut self) {
        self.world.stop.cancel();
        if let Some(mut serving) = self.serving.take()
            && tokio::time::timeout(PATIENCE, &mut serving).await.is_err()
        {
            serving.abort();
        }
        let exchange = lock(&self.world.exchange);
        self.world.keep(&exchange);
        drop(exchange);
        self.world.keep_time();
    }
}

impl Drop for PaperServer {
    fn drop(&mut self) {
        self.world.stop.cancel();
    }
}

/// Lets time pass when nobody asks, so that whoever asks next waits for little.
async fn tick(world: Arc<World>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let world = Arc::clone(&world);
        if lock(&world.clock).speed() != Speed::Hand {
            drop(tokio::task::spawn_blocking(move || drop(world.at_now())).await);
        }
    }
}
