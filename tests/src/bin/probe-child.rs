//! Stands in for the child: confines itself as the child does, then does as it is told.
//!
//! First order: how far to go, `proven` (Landlock, no filter) or `filtered`. Then any number of
//! system calls, `panic`, `crash`, `grow MIB`, `exit`; with `data ` before it the order is for the
//! data-path thread, which then has its filter. Each is answered, if it is survived.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use isatapd_security::{Channel, child};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[path = "../../tests/sandbox/order.rs"]
mod order;

fn main() -> ExitCode {
    let Ok(uplink) = Channel::inherited().map(Arc::new) else { return ExitCode::from(99) };
    let hook = Arc::clone(&uplink);
    child::exit_on_panic(move |line| say(&hook, line));
    let Some(stage) = hear(&uplink) else { return ExitCode::from(98) };
    let confined = match child::confine(160) {
        Ok(confined) => confined,
        Err(error) => return fail(&uplink, &error),
    };
    let (give, orders) = channel::<String>();
    // The other thread is not to see the end of orders before the end of the process.
    let give = std::mem::ManuallyDrop::new(give);
    let (tell, answers) = channel();
    let complete = match confined.start_data_path(move || work(&orders, &tell)) {
        Ok(complete) => complete,
        Err(error) => return fail(&uplink, &error),
    };
    let mut status = complete.status().to_string();
    if stage == "filtered" {
        match complete.filter() {
            Ok(last) => status = last.to_string(),
            Err(error) => return fail(&uplink, &error),
        }
    }
    say(&uplink, &format!("ready: {status}"));
    while let Some(order) = hear(&uplink) {
        let answer = match order.strip_prefix("data ") {
            Some(order) => give.send(order.into()).ok().and_then(|()| answers.recv().ok()),
            None => obey(&order),
        };
        match answer {
            Some(answer) => say(&uplink, &answer),
            None => return ExitCode::SUCCESS,
        }
    }
    ExitCode::SUCCESS
}

/// What the data-path thread does.
fn work(orders: &Receiver<String>, tell: &Sender<String>) {
    while let Some(answer) = orders.recv().ok().and_then(|order| obey(&order)) {
        if tell.send(answer).is_err() {
            return;
        }
    }
}

fn fail(channel: &Channel, error: &dyn std::error::Error) -> ExitCode {
    say(channel, &format!("error: {error}"));
    ExitCode::from(71)
}

fn obey(order: &str) -> Option<String> {
    match order {
        "exit" => None,
        "panic" => panic!("as told\nsecond line"),
        // SAFETY: it is the point of this order that it is not.
        "crash" => Some(unsafe { std::ptr::null::<u8>().read_volatile() }.to_string()),
        #[cfg(target_arch = "x86_64")]
        "i386" => Some(call_i386()),
        _ => match order.strip_prefix("grow ") {
            Some(mib) => {
                let room = mib.parse::<usize>().ok()? << 20;
                Some(Vec::<u8>::new().try_reserve_exact(room).is_ok().to_string())
            }
            None => order::call(order),
        },
    }
}

fn say(channel: &Channel, text: &str) {
    channel.send(text.as_bytes(), &[]).expect("the test listens");
}

fn hear(channel: &Channel) -> Option<String> {
    let mut wait = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    poll(&mut wait, PollTimeout::NONE).ok()?;
    let mut buffer = [0; 512];
    let received = channel.receive(&mut buffer, 8).ok()?;
    // Descriptors stay open, for calls to use.
    received.fds.into_iter().for_each(std::mem::forget);
    String::from_utf8(buffer[..received.len].to_vec()).ok()
}

/// getpid (20) by the entry of i386 programs. Not reached by a process that is alive.
#[cfg(target_arch = "x86_64")]
fn call_i386() -> String {
    let answer: u64;
    // SAFETY: getpid touches no memory; rax is the only register that changes, and r8 to r11 are
    // given up as the kernel clears them.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") 20_u64 => answer, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _);
    }
    answer.to_string()
}
