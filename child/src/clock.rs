//! Boot time, and one timer on it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use isatapd_engine::Instant;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;

/// The timer, made before the filter is in force. It counts while the machine is suspended.
pub(crate) struct Clock {
    timer: TimerFd,
    set: Option<Instant>,
}

impl Clock {
    /// A timer that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self { timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?, set: None })
    }

    /// The time.
    pub(crate) fn now() -> io::Result<Instant> {
        let time = clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
        Ok(Instant::since_boot(time.into()))
    }

    /// Has the timer end at `deadline`, or never.
    pub(crate) fn set(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if self.set == deadline {
            return Ok(());
        }
        self.set = deadline;
        match deadline {
            None => self.timer.unset()?,
            Some(at) => {
                // A time of zero would unset it.
                let at = at.time_since_boot().max(std::time::Duration::from_nanos(1));
                let at = Expiration::OneShot(TimeSpec::from_duration(at));
                self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
        }
        Ok(())
    }

    /// Takes note that the timer has ended.
    pub(crate) fn ended(&mut self) {
        self.set = None;
        // Non-blocking, and what it counts does not matter.
        let _ = nix::unistd::read(&self.timer, &mut [0; 8]);
    }
}

impl AsFd for Clock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
