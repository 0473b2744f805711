//! Doing something beside a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

/// A thread that does something again and again, until this is dropped.
pub struct Repeated {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repeated {
    /// Begins to `act`.
    pub fn start(mut act: impl FnMut() + Send + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                act();
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let result = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = result
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
