//! `stentor demo`: a server, a receiver and a producer in one process, on a folder that is thrown away.
//!
//! In reading order:
//! - `cast` is the plan: endpoints, events, and which goes where;
//! - `receiver` is the program at the other end, which verifies signatures on its own;
//! - `watch` looks at the deliveries through the API, `print` shows them;
//! - `verdict` compares what happened with the plan.

mod cast;
mod print;
mod receiver;
mod verdict;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stentor_domain::Clock;

use self::cast::{ENDPOINTS, EVENTS, TENANT};
use self::print::Printer;
use self::receiver::Receiver;
use self::verdict::{Accepted, judge};
use self::watch::{Delivery, Watch};
use super::serve::Signals;
use super::wait;
use crate::cli::DemoOptions;
use crate::client::{Api, text};
use crate::config::ServeConfig;
use crate::failure::Failure;
use crate::node::Node;
use crate::system::SystemClock;

/// Between two events, so that people can follow.
const PUBLISH_EVERY: Duration = Duration::from_millis(150);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The slowest delivery takes some five seconds; whatever is not done by then is told as a fault.
const ROUND_MAX: Duration = Duration::from_secs(30);

/// Serves the demonstration at `listen`, until it is interrupted or, with `--once`, one round is done.
pub(crate) async fn run(options: DemoOptions, listen: SocketAddr, open_files: u64) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let folder = tempfile::Builder::new()
        .prefix("stentor-demo-")
        .tempdir()
        .map_err(|error| Failure::Failed(format!("no temporary folder can be made: {error}")))?;
    let node = Node::start(ServeConfig::demo(folder.path(), listen)?, open_files).await?;
    let ended = tokio::select! {
        ended = show(&node, options.once) => ended,
        () = signals.first() => if options.once {
            Err(Failure::Failed("interrupted before the end".to_owned()))
        } else {
            Ok(())
        },
    };
    tokio::select! {
        () = node.stop() => {}
        // A second one: the folder goes, too, and what is in flight is broken off.
        () = signals.first() => {}
    }
    ended
}

async fn show(node: &Node, once: bool) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let key = node.new_root_key.as_ref();
    let key = key.ok_or_else(|| Failure::Failed("a fresh server made no root key".to_owned()))?;
    let (address, key) = (reachable(node.address), key.expose());
    let printer = Printer::to_stdout();
    let receiver = Receiver::start(Arc::clone(&clock)).await?;
    let mut api = Api::open(address, key).await?;
    prepare(&mut api, &receiver).await?;
    printer.line(&format!(
        "A server at http://{address}, a receiver at http://{}, and a tenant with {} endpoints.\n",
        receiver.address,
        ENDPOINTS.len()
    ));

    printer.columns();
    let mut watch = Watch::new(Api::open(address, key).await?);
    let mut stage = Stage {
        printer,
        receiver: &receiver,
        clock: &*clock,
    };
    let until = clock.monotonic() + ROUND_MAX;
    let (accepted, ()) = tokio::try_join!(publish(&mut api), stage.watch_round(&mut watch, until))?;

    let verdict = judge(&accepted, &watch, &receiver);
    printer.line("");
    verdict.summary.iter().for_each(|line| printer.line(line));
    if verdict.faults.is_empty() {
        printer.line("Everything was as it should be.");
    } else if once {
        return Err(Failure::Failed(verdict.faults.join("; ")));
    }
    verdict
        .faults
        .iter()
        .for_each(|fault| printer.line(&format!("Not as it should be: {fault}")));
    if once {
        return Ok(());
    }
    invite(printer, address, key, receiver.address);
    stage.watch_on(&mut watch).await
}

/// Where this machine reaches a server that listens on `address`, which may be all of its addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Makes the tenant, the event types and the endpoints, and tells the receiver the endpoints' secrets.
async fn prepare(api: &mut Api, receiver: &Receiver) -> Result<(), Failure> {
    api.post("/v1/tenants", &json!({"name": "Acme Inc.", "uid": TENANT}))
        .await?;
    for event in &EVENTS {
        let event_type = json!({"name": event.event_type, "description": event.meaning});
        api.post("/v1/event-types", &event_type).await?;
    }
    for endpoint in &ENDPOINTS {
        let mut body = json!({
            "tenant": TENANT,
            "name": endpoint.name,
            "url": format!("http://{}/{}", receiver.address, endpoint.name),
            "events": endpoint.events,
            "timeout_seconds": endpoint.timeout_seconds,
        });
        if let (Some(schedule), Some(fields)) = (endpoint.retry_schedule, body.as_object_mut()) {
            fields.insert("retry_schedule".to_owned(), json!(schedule));
        }
        let made = api.post("/v1/endpoints", &body).await?;
        receiver.trust(endpoint.name, text(&made, "secret")?)?;
    }
    Ok(())
}

async fn publish(api: &mut Api) -> Result<Vec<Accepted>, Failure> {
    let mut accepted = Vec::with_capacity(EVENTS.len());
    for event in &EVENTS {
        let payload: Value = serde_json::from_str(event.payload)
            .map_err(|error| Failure::Failed(format!("the payload of {}: {error}", event.event_type)))?;
        let body = json!({"tenant": TENANT, "type": event.event_type, "payload": payload});
        let answer = api.post("/v1/events", &body).await?;
        accepted.push(Accepted {
            id: text(&answer, "id")?.to_owned(),
            deliveries: answer.get("deliveries").and_then(Value::as_u64).unwrap_or(0),
        });
        wait(PUBLISH_EVERY).await;
    }
    Ok(accepted)
}

/// What the watching needs.
struct Stage<'a> {
    printer: Printer,
    receiver: &'a Receiver,
    clock: &'a dyn Clock,
}

impl Stage<'_> {
    /// Shows what happens until everything planned has come to its end, or until that moment of the clock.
    async fn watch_round(&mut self, watch: &mut Watch, until: Duration) -> Result<(), Failure> {
        let planned: usize = EVENTS.iter().map(|event| event.to.len()).sum();
        while self.clock.monotonic() < until {
            self.look(watch).await?;
            if watch.deliveries().filter(|delivery| delivery.finished()).count() >= planned {
                break;
            }
            wait(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Shows what happens, for ever.
    async fn watch_on(&mut self, watch: &mut Watch) -> Result<(), Failure> {
        loop {
            self.look(watch).await?;
            wait(LOOK_EVERY).await;
        }
    }

    async fn look(&mut self, watch: &mut Watch) -> Result<(), Failure> {
        for news in watch.look().await? {
            let Delivery { event, .. } = &news.delivery;
            let signature = self.receiver.signature(&news.name, event, news.attempt.number);
            self.printer.attempt(&news, signature, self.clock.now());
        }
        Ok(())
    }
}

/// What to do next, in lines that can be pasted.
fn invite(printer: Printer, address: SocketAddr, key: &str, receiver: SocketAddr) {
    let authorized = format!("\\\n    -H 'Authorization: Bearer {key}'");
    let posted = format!("{authorized} \\\n    -H 'Content-Type: application/json'");
    printer.line(&format!(
        "\nThe server goes on at http://{address} until Ctrl-C. Its root key:\n  {key}\n"
    ));
    printer.heading("Publish an event:");
    printer.line(&format!(
        "  curl http://{address}/v1/events {posted} \\\n    -d '{{\"tenant\":\"{TENANT}\",\"type\":\"order.created\",\
         \"payload\":{{\"order\":\"ord_1042\"}}}}'\n"
    ));
    printer.heading("List the newest deliveries:");
    printer.line(&format!(
        "  curl 'http://{address}/v1/deliveries?limit=5' {authorized}\n"
    ));
    printer.heading("Register an endpoint (the receiver answers 200 at any path):");
    printer.line(&format!(
        "  curl http://{address}/v1/endpoints {posted} \\\n    -d '{{\"tenant\":\"{TENANT}\",\"name\":\"mine\",\"url\":\
         \"http://{receiver}/mine\",\"events\":[\"order.created\"]}}'\n"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_the_loopback_address() {
        for (listening, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
