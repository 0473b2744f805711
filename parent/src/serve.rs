//! The child's requests: judged, done, answered.

use std::time::Instant;

use isatapd_proto::{Event, LogRecord, Outcome, Phase, Refusal, Request, Seq, State};
use log::{error, warn};

use crate::exit::Fatal;
use crate::kernel::KernelError;
use crate::policy::{Addresses, DnsSocket, Facts, Routers, Routes};
use crate::run::Daemon;
use crate::sockets::dns_socket;

impl Daemon<'_> {
    /// Serves one request. Only an error that ends the start is an error.
    pub(crate) fn serve(&mut self, seq: Seq, request: Request, now: Instant) -> Result<(), Fatal> {
        let answered = request.is_answered();
        let outcome = self.outcome(request, now)?;
        if answered {
            self.tell(&Event::Done { seq, outcome }, Vec::new());
        }
        Ok(())
    }

    fn outcome(&mut self, request: Request, now: Instant) -> Result<Outcome, Fatal> {
        let judged = match request {
            Request::StartupDone => {
                self.confined();
                Ok(Outcome::Done)
            }
            Request::OpenDns { id, server, transport } => {
                let servers = &self.opened.servers;
                DnsSocket::judge((id, server, transport), servers, &mut self.dns, now)
                    .map(|socket| self.open_dns(&socket))
            }
            Request::SetRouters(wishes) => match Routers::judge(&wishes) {
                Ok(routers) => {
                    let outcome = self.use_routers(routers);
                    self.look(now)?;
                    Ok(outcome)
                }
                Err(refusal) => Err(refusal),
            },
            Request::SetAddresses(wishes) => {
                Addresses::judge(&wishes, self.facts()).map(|wanted| self.use_addresses(&wanted))
            }
            Request::SetRoutes(wishes) => {
                Routes::judge(&wishes, self.facts()).map(|wanted| self.use_routes(wanted))
            }
            Request::Report(state) => {
                self.report(state)?;
                Ok(Outcome::Done)
            }
            Request::Log(record) => {
                self.log_line(&record, now);
                Ok(Outcome::Done)
            }
        };
        Ok(judged.unwrap_or_else(|refusal| {
            warn!("isatapd-child: a request is refused: {refusal}");
            Outcome::Refused(refusal)
        }))
    }

    /// What the policy rests on.
    pub(crate) fn facts(&self) -> Facts<'_> {
        let tunnel = self.tunnel.as_ref().map(crate::tunnel::Tunnel::state);
        Facts { routers: self.routers.list(), tunnel }
    }

    fn open_dns(&mut self, wanted: &DnsSocket) -> Outcome {
        match dns_socket(wanted.server(), wanted.transport()) {
            Ok(socket) => {
                self.tell(&Event::Dns { id: wanted.id() }, vec![socket]);
                Outcome::Done
            }
            // The child tries others, and says what it means for the names.
            Err(errno) => Outcome::Failed(errno as i32),
        }
    }

    /// Routes by routers that are no longer in the list go before the list changes.
    fn use_routers(&mut self, routers: Routers) -> Outcome {
        let left = self.routes.led_by(&routers);
        self.routers = routers;
        if self.tunnel.is_some() { self.use_routes(left) } else { Outcome::Done }
    }

    fn use_addresses(&mut self, wanted: &Addresses) -> Outcome {
        let Some(tunnel) = &mut self.tunnel else { return Outcome::Refused(Refusal::NoTunnel) };
        outcome(tunnel.set_addresses(&mut self.with.netlink, wanted))
    }

    fn use_routes(&mut self, wanted: Routes) -> Outcome {
        let Some(tunnel) = &mut self.tunnel else { return Outcome::Refused(Refusal::NoTunnel) };
        let outcome = outcome(tunnel.set_routes(&mut self.with.netlink, &wanted));
        self.routes = wanted;
        outcome
    }

    /// While names are unknown there is nothing more to start; the child has said which.
    fn report(&mut self, state: State) -> Result<(), Fatal> {
        if state == State::AwaitingNames { self.ready() } else { Ok(()) }
    }

    pub(crate) fn log_line(&mut self, record: &LogRecord, now: Instant) {
        let starting = self.child.as_ref().is_some_and(|c| c.phase() == Phase::Starting);
        if starting && record.level == isatapd_proto::Level::Error {
            // It is the reason of an end that is reported as one line.
            self.restart.last_words = Some(record.text.to_string());
        } else {
            self.log.write(record, now);
        }
    }
}

fn outcome(result: Result<(), KernelError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(failure) => {
            error!("{failure}");
            Outcome::Failed(failure.errno as i32)
        }
    }
}
