//! Progress of a build, as the daemon reports it.

use std::collections::{HashMap, HashSet, VecDeque};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex};

/// Number of lines at the end of a step's output that are kept for its error.
const KEPT_LINES: usize = 100;
/// Maximum length of such a line, in characters.
const LONGEST_LINE: usize = 4096;

/// Event of a build.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BuildEvent {
    /// A step began.
    Began {
        /// Its number, from 1.
        step: u64,
        /// What it does: `[build 2/3] RUN make`.
        name: String,
    },
    /// The result of a step was cached.
    Cached {
        /// Its number.
        step: u64,
        /// What it does.
        name: String,
    },
    /// A step succeeded.
    Done {
        /// Its number.
        step: u64,
        /// Its duration in seconds.
        seconds: f64,
    },
    /// A step failed.
    Failed {
        /// Its number.
        step: u64,
        /// The reason, as the daemon reports it.
        error: String,
    },
    /// A command printed a line.
    Line {
        /// The number of its step.
        step: u64,
        /// The line, without its end.
        text: String,
    },
    /// Data is downloaded or uploaded.
    Moved {
        /// The number of its step.
        step: u64,
        /// Name of the data.
        what: String,
        /// Number of bytes so far.
        done: u64,
        /// Total number of bytes, if known.
        total: Option<u64>,
    },
    /// A warning about the Dockerfile.
    Warning(String),
    /// Files of the context were sent to the daemon.
    Sent {
        /// Total number of bytes of contents.
        bytes: u64,
    },
}

/// Turns status messages into events, and reports each event once.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    steps: HashMap<String, u64>,
    names: HashMap<u64, String>,
    began: HashSet<u64>,
    ended: HashSet<u64>,
    lines: HashMap<u64, VecDeque<String>>,
    /// The last step that failed, except those that were cancelled because another failed.
    pub(crate) failed: Option<u64>,
}

impl Watch {
    pub(crate) fn take(&mut self, status: StatusResponse, report: &(dyn Fn(BuildEvent) + Sync)) {
        for vertex in status.vertexes {
            self.vertex(&vertex, report);
        }
        for moved in status.statuses {
            let step = self.step(&moved.vertex);
            let number = |n: i64| u64::try_from(n).unwrap_or(0);
            report(BuildEvent::Moved {
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
                report(BuildEvent::Line {
                    step,
                    text: text.to_owned(),
                });
            }
        }
        for warning in status.warnings {
            report(BuildEvent::Warning(
                String::from_utf8_lossy(&warning.short).into_owned(),
            ));
        }
    }

    /// Returns the name of the failed step and its last lines.
    pub(crate) fn failed_step(&mut self) -> Option<(String, Vec<String>)> {
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

    fn vertex(&mut self, vertex: &Vertex, report: &(dyn Fn(BuildEvent) + Sync)) {
        let step = self.step(&vertex.digest);
        self.names.insert(step, vertex.name.clone());
        if vertex.cached && !self.ended.contains(&step) {
            self.ended.insert(step);
            self.began.insert(step);
            report(BuildEvent::Cached {
                step,
                name: vertex.name.clone(),
            });
            return;
        }
        if vertex.started.is_some() && self.began.insert(step) {
            report(BuildEvent::Began {
                step,
                name: vertex.name.clone(),
            });
        }
        let Some((started, completed)) = vertex.started.zip(vertex.completed) else {
            return;
        };
        if !vertex.error.is_empty() {
            // A step that is cancelled because another failed is reported last.
            if !vertex.error.contains("context canceled") {
                self.failed = Some(step);
            }
            if self.ended.insert(step) {
                report(BuildEvent::Failed {
                    step,
                    error: vertex.error.clone(),
                });
            }
        } else if self.ended.insert(step) {
            report(BuildEvent::Done {
                step,
                seconds: (seconds(completed) - seconds(started)).max(0.0),
            });
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a duration for users, and current times in seconds fit 53 bits"
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
    fn a_step_is_reported_once_and_its_last_lines_are_kept() {
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let vertex = |completed, error: &str| Vertex {
            digest: "d".into(),
            name: "[2/2] RUN x".into(),
            started: time(1),
            completed,
            error: error.into(),
            ..Vertex::default()
        };
        let events = Mutex::new(Vec::new());
        let report = |event| events.lock().unwrap().push(event);
        let mut watch = Watch::default();
        let status = |vertexes, logs| StatusResponse {
            vertexes,
            logs,
            ..StatusResponse::default()
        };
        watch.take(
            status(vec![vertex(None, ""), vertex(None, "")], vec![]),
            &report,
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
        watch.take(status(vec![], vec![log]), &report);
        watch.take(
            status(vec![vertex(time(3), "exit code: 3")], vec![]),
            &report,
        );
        let events = events.lock().unwrap();
        assert_eq!(events.len(), 1 + 150 + 1);
        assert_eq!(
            events[0],
            BuildEvent::Began {
                step: 1,
                name: "[2/2] RUN x".into()
            }
        );
        let (name, lines) = watch.failed_step().unwrap();
        assert_eq!(
            (name.as_str(), lines.len(), lines[99].as_str()),
            ("[2/2] RUN x", 100, "line 149")
        );
    }
}
