//! A thread that stays in the host's network, and does there what others ask for.

use std::io::{self, ErrorKind};
use std::sync::mpsc::{self, Sender};

/// A thing to do.
type Task = Box<dyn FnOnce() + Send>;

/// The thread. It ends with this value.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    tasks: Sender<Task>,
}

impl Outside {
    /// Starts it in the network of this thread.
    pub(super) fn start() -> io::Result<Self> {
        let (tasks, queue) = mpsc::channel::<Task>();
        std::thread::Builder::new()
            .name("outside".to_owned())
            .spawn(move || queue.into_iter().for_each(|task| task()))?;
        Ok(Self { tasks })
    }

    /// Has it do something that does not block, and returns the result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (result, done) = mpsc::sync_channel(1);
        let ended = || io::Error::from(ErrorKind::BrokenPipe);
        self.tasks
            .send(Box::new(move || {
                // The one who asked waits for it.
                let _ = result.send(task());
            }))
            .map_err(|_| ended())?;
        done.recv().map_err(|_| ended())?
    }
}
