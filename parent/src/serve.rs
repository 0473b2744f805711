//! The child's requests: judged, done, answered.

use std::time::{Duration, Instant};

use isatapd_proto::{Event, Level, LogRecord, Outcome, Phase, Refusal, Request, Seq, State};

use nix::errno::Errno;

use crate::exit::Fatal;
use crate::kernel::KernelError;
use crate::policy::{Addresses, DnsSocket, Facts, Routers, Routes, TrafficWatch};
use crate::run::{Daemon, SETTLED};
use crate::sockets::{dns_socket, traffic_socket};

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
        if matches!(
            request,
            Request::SetRouters(_) | Request::SetAddresses(_) | Request::SetRoutes(_)
        ) {
            self.changes.take(now);
        }
        if matches!(request, Request::SetRoutes(_)) && self.routers_are_new && !self.failed {
            // It may have heard of a router that the tunnel does not know yet.
            self.look(now)?;
        }
        let judged = match request {
            Request::StartupDone => {
                self.confined();
                Ok(Outcome::Done)
            }
            Request::OpenDns { id, server, transport } => {
                let servers = &self.opened.servers;
                DnsSocket::judge((id, server, transport), servers, &mut self.dns, now)
                    .map(|socket| self.open_dns(&socket, now))
            }
            Request::SetRouters(wishes) => match Routers::judge(&wishes) {
                Ok(routers) => {
                    let outcome = self.use_routers(routers, now);
                    self.look_at_once(now);
                    Ok(outcome)
                }
                Err(refusal) => Err(refusal),
            },
            Request::SetAddresses(wishes) => Addresses::judge(&wishes, self.facts())
                .map(|wanted| self.use_addresses(&wanted, now)),
            Request::SetRoutes(wishes) => {
                Routes::judge(&wishes, self.facts()).map(|wanted| self.use_routes(&wanted, now))
            }
            Request::Report(state) => {
                self.report(state, now)?;
                Ok(Outcome::Done)
            }
            Request::WatchTraffic => TrafficWatch::judge(self.facts()).map(|_| {
                self.changes.take(now);
                self.watch_traffic(now);
                Outcome::Done
            }),
            Request::Log(record) => {
                self.log_line(&record, now);
                Ok(Outcome::Done)
            }
            Request::Dump { text, last } => {
                self.take_state(&text, last, now);
                Ok(Outcome::Done)
            }
            Request::Pong => Ok(Outcome::Done),
        };
        Ok(judged.unwrap_or_else(|refusal| {
            let line = format!("isatapd-child: a request is refused: {refusal}");
            self.log.caused(Level::Warning, &line, now);
            Outcome::Refused(refusal)
        }))
    }

    /// What the policy rests on.
    pub(crate) fn facts(&self) -> Facts<'_> {
        let tunnel = self.tunnel.as_ref().map(crate::tunnel::Tunnel::state);
        Facts { routers: self.routers.list(), tunnel }
    }

    fn open_dns(&mut self, wanted: &DnsSocket, now: Instant) -> Outcome {
        match dns_socket(wanted.server(), wanted.transport()) {
            Ok(socket) => {
                self.said.name_server = None;
                self.tell(&Event::Dns { id: wanted.id() }, vec![socket]);
                Outcome::Done
            }
            Err(errno) => {
                let line = format!("name server {}: {}", wanted.server(), errno.desc());
                if self.said.name_server.as_ref() != Some(&line) {
                    self.log.caused(Level::Warning, &line, now);
                    self.said.name_server = Some(line);
                }
                Outcome::Failed(errno as i32)
            }
        }
    }

    /// Routes by routers that are no longer in the list go before the list changes. What the list
    /// brings comes with the next look; but an empty one has nothing to look for.
    fn use_routers(&mut self, routers: Routers, now: Instant) -> Outcome {
        let netlink = &mut self.with.netlink;
        let result = match &mut self.tunnel {
            None => Ok(()),
            Some(tunnel) if routers.list().is_empty() => {
                tunnel.set_routers(netlink, &self.with.prl, &[])
            }
            Some(tunnel) => tunnel.drop_routes_but_by(netlink, &routers),
        };
        // A router that left has no sockets any more, even if it comes back to the same slot.
        self.sockets.retain(|wish| routers.list().contains(wish));
        self.routers_are_new = !routers.list().is_empty();
        self.routers = routers;
        self.outcome_of(result, now)
    }

    /// Removes what a former child wished for and the present one has not, when it has had the time.
    pub(crate) fn drop_inherited(&mut self, now: Instant) {
        let Some(tunnel) = &mut self.tunnel else { return };
        if tunnel.inherited_until().is_some_and(|at| at <= now) {
            let (netlink, prl) = (&mut self.with.netlink, &self.with.prl);
            let result = tunnel.drop_inherited(netlink).and_then(|()| {
                // The list follows now, or with the next look.
                let empty = self.routers.list().is_empty();
                if empty { tunnel.set_routers(netlink, prl, &[]) } else { Ok(()) }
            });
            self.outcome_of(result, now);
            self.look_soon(now);
        }
    }

    fn use_addresses(&mut self, wanted: &Addresses, now: Instant) -> Outcome {
        let Some(tunnel) = &mut self.tunnel else { return Outcome::Refused(Refusal::NoTunnel) };
        let result = tunnel.set_addresses(&mut self.with.netlink, wanted);
        self.outcome_of(result, now)
    }

    fn use_routes(&mut self, wanted: &Routes, now: Instant) -> Outcome {
        let Some(tunnel) = &mut self.tunnel else { return Outcome::Refused(Refusal::NoTunnel) };
        if self.routers_are_new {
            return Outcome::Failed(Errno::EAGAIN as i32);
        }
        let result = tunnel.set_routes(&mut self.with.netlink, wanted);
        self.outcome_of(result, now)
    }

    /// Has the next packet that leaves by the tunnel noticed, if it is not already.
    fn watch_traffic(&mut self, now: Instant) {
        let Some(index) = self.tunnel.as_ref().map(crate::tunnel::Tunnel::index) else { return };
        if self.traffic.is_none() {
            match traffic_socket(index) {
                Ok(socket) => self.traffic = Some(socket),
                Err(failure) => {
                    let line = format!("{failure}; a router that dies is noticed by its lifetime");
                    self.log.caused(Level::Warning, &line, now);
                }
            }
        }
    }

    /// A packet has left by the tunnel. What it was nobody looks at.
    pub(crate) fn tell_traffic(&mut self) {
        if self.traffic.take().is_some() {
            self.tell(&Event::Traffic, Vec::new());
        }
    }

    fn outcome_of(&mut self, result: Result<(), KernelError>, now: Instant) -> Outcome {
        match result {
            Ok(()) => Outcome::Done,
            Err(failure) => {
                self.log.caused(Level::Error, &failure.to_string(), now);
                Outcome::Failed(failure.errno as i32)
            }
        }
    }

    fn report(&mut self, state: State, now: Instant) -> Result<(), Fatal> {
        self.said.state = Some(state);
        self.say_status();
        match state {
            // There is nothing more to start; the child has said which names are unknown.
            State::AwaitingNames => self.ready(),
            State::AwaitingRouters => Ok(()),
            State::Finished => {
                self.has_told_hosts(now);
                Ok(())
            }
            State::Working => {
                self.settled_at = now.checked_add(SETTLED);
                Ok(())
            }
        }
    }

    /// Tells the service manager how things stand. What is in the way of a tunnel comes first: the child
    /// only knows that no router answers.
    pub(crate) fn say_status(&mut self) {
        let status = match (self.said.state, &self.said.waits) {
            (Some(State::Finished), _) => "ends".to_owned(),
            (_, Some(waits)) => format!("waits: {waits}"),
            (None, None) => return,
            (Some(State::AwaitingNames), None) => {
                "waits for a name of a router to have an address".to_owned()
            }
            (Some(State::AwaitingRouters), None) => "waits for a router to answer".to_owned(),
            (Some(State::Working), None) => "works".to_owned(),
        };
        self.with.notify.status(&status);
    }

    /// The same while there is no child.
    pub(crate) fn say_degraded(&mut self, wait: Duration) {
        let seconds = wait.as_secs();
        self.with.notify.status(&format!(
            "degraded: isatapd-child keeps ending; another is started after {seconds} s, the tunnel stays"
        ));
    }

    pub(crate) fn log_line(&mut self, record: &LogRecord, now: Instant) {
        let starting = self.child.as_ref().is_some_and(|c| c.phase() == Phase::Starting);
        if starting && record.level == Level::Error {
            // It is the reason of an end that is reported as one line.
            self.restart.last_words = Some(record.text.to_string());
        } else {
            self.log.write(record, now);
        }
    }
}
