//! What a daemon tells about a build, in words of ours.

use std::collections::{HashMap, HashSet, VecDeque};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex};

/// So many lines of a step are kept for the case that it fails.
const KEPT_LINES: usize = 100;
/// A line of a step is not kept beyond this, in bytes.
const LONGEST_LINE: usize = 4096;

/// Something that happened in a build.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Happening {
    /// A step began.
    Began {
        /// Its number, from 1.
        step: u64,
        /// What it does: `[build 2/3] RUN make`.
        name: String,
    },
    /// Nothing had to be done for a step.
    Cached {
        /// Its number.
        step: u64,
        /// What it does.
        name: String,
    },
    /// A step ended well.
    Done {
        /// Its number.
        step: u64,
        /// How long it took, in seconds.
        seconds: f64,
    },
    /// A step failed.
    Failed {
        /// Its number.
        step: u64,
        /// Why, as the daemon puts it.
        error: String,
    },
    /// A command wrote a line.
    Line {
        /// The number of its step.
        step: u64,
        /// The line, without its end.
        text: String,
    },
    /// Something is fetched or sent.
    Moved {
        /// The number of its step.
        step: u64,
        /// What.
        what: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// What the Dockerfile's author should mind.
    Warning(String),
    /// So much of the context's files travelled to the daemon, all in all.
    Sent {
        /// Bytes of contents.
        bytes: u64,
    },
}

/// Turns answers into happenings, each once.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    steps: HashMap<String, u64>,
    names: HashMap<u64, String>,
    began: HashSet<u64>,
    ended: HashSet<u64>,
    lines: HashMap<u64, VecDeque<String>>,
    /// The last step that failed of itself, not because the build was cancelled.
    pub(crate) failed: Option<u64>,
}

impl Watch {
    pub(crate) fn take(&mut self, status: StatusResponse, tell: &(dyn Fn(Happening) + Sync)) {
        for vertex in status.vertexes {
            self.vertex(&vertex, tell);
        }
        for moved in status.statuses {
            let step = self.step(&moved.vertex);
            let number = |n: i64| u64::try_from(n).unwrap_or(0);
            tell(Happening::Moved {
                step,
                what: moved.id,
                done: number(moved.current),
                total: Some(number(moved.total)).filter(|total| *total > 0),
            });
        }
        for log in status.logs {
            let step = self.step(&log.vertex);
            for text in String::from_utf8_lossy(&log.msg).lines() {
                let kept = self.lines.entry(step).or_default();
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(text.chars().take(LONGEST_LINE).collect());
                tell(Happening::Line {
                    step,
                    text: text.to_owned(),
                });
            }
        }
        for warning in status.warnings {
            tell(Happening::Warning(
                String::from_utf8_lossy(&warning.short).into_owned(),
            ));
        }
    }

    /// Returns what the failed step does, and what it wrote last.
    pub(crate) fn story(&mut self) -> Option<(String, Vec<String>)> {
        let step = self.failed?;
        let lines = self.lines.remove(&step).unwrap_or_default();
        Some((self.names.remove(&step)?, lines.into()))
    }

    fn step(&mut self, digest: &str) -> u64 {
        if let Some(step) = self.steps.get(digest) {
            return *step;
        }
        let step = self.steps.len() as u64 + 1;
        self.steps.insert(digest.to_owned(), step);
        step
    }

    fn vertex(&mut self, vertex: &Vertex, tell: &(dyn Fn(Happening) + Sync)) {
        let step = self.step(&vertex.digest);
        self.names.insert(step, vertex.name.clone());
        if vertex.cached && !self.ended.contains(&step) {
            self.ended.insert(step);
            self.began.insert(step);
            tell(Happening::Cached {
                step,
                name: vertex.name.clone(),
            });
            return;
        }
        if vertex.started.is_some() && self.began.insert(step) {
            tell(Happening::Began {
                step,
                name: vertex.name.clone(),
            });
        }
        let Some((started, completed)) = vertex.started.zip(vertex.completed) else {
            return;
        };
        if !vertex.error.is_empty() {
            // A step that was broken off because another failed tells so last.
            if !vertex.error.contains("context canceled") {
                self.failed = Some(step);
            }
            if self.ended.insert(step) {
                tell(Happening::Failed {
                    step,
                    error: vertex.error.clone(),
                });
            }
        } else if self.ended.insert(step) {
            tell(Happening::Done {
                step,
                seconds: (seconds(completed) - seconds(started)).max(0.0),
            });
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a duration for people, and seconds of this era fit 53 bits"
)]
fn seconds(time: Timestamp) -> f64 {
    time.seconds as f64 + f64::from(time.nanos) / 1e9
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bollard_buildkit_proto::moby::buildkit::v1::VertexLog;

    use super::*;

    #[test]
    fn a_step_is_told_once_and_its_last_lines_are_kept() {
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let vertex = |completed, error: &str| Vertex {
            digest: "d".into(),
            name: "[2/2] RUN x".into(),
            started: time(1),
            completed,
            error: error.into(),
            ..Vertex::default()
        };
        let told = Mutex::new(Vec::new());
        let tell = |happening| told.lock().unwrap().push(happening);
        let mut watch = Watch::default();
        let status = |vertexes, logs| StatusResponse {
            vertexes,
            logs,
            ..StatusResponse::default()
        };
        watch.take(
            status(vec![vertex(None, ""), vertex(None, "")], vec![]),
            &tell,
        );
        let lines: Vec<String> = (0..150).map(|n| format!("line {n}")).collect();
        let msg = lines
            .join(
                "
",
            )
            .into_bytes();
        let log = VertexLog {
            vertex: "d".into(),
            msg,
            ..VertexLog::default()
        };
        watch.take(status(vec![], vec![log]), &tell);
        watch.take(status(vec![vertex(time(3), "exit code: 3")], vec![]), &tell);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1 + 150 + 1);
        assert_eq!(
            told[0],
            Happening::Began {
                step: 1,
                name: "[2/2] RUN x".into()
            }
        );
        let (name, lines) = watch.story().unwrap();
        assert_eq!(
            (name.as_str(), lines.len(), lines[99].as_str()),
            ("[2/2] RUN x", 100, "line 149")
        );
    }
}
