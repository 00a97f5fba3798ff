//! What is shown while a plan is carried out: a line for each thing that was done, and, on a
//! terminal, one line that says what is waited for and is written over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use boma_engine::act::{Progress, Report};
use boma_engine::plan::{Plan, PlanView, StepId};
use boma_instance::backup::Work;
use jiff::Timestamp;

use crate::terminal::{Terminal, Tone, printable};
use boma_engine::words;

/// Nothing is written over before this: what is quick is not worth a flicker.
const QUIET_AT_FIRST: Duration = Duration::from_millis(250);

/// What takes longer than this makes a person wonder.
const SLOW: Duration = Duration::from_secs(3);

/// Shows progress on standard error.
#[derive(Clone)]
pub(crate) struct Shown {
    terminal: Terminal,
    state: Arc<Mutex<State>>,
}

struct State {
    began: Instant,
    steps: PlanView,
    overwritable: bool,
    said: BTreeSet<String>,
}

impl Shown {
    /// Starts showing.
    pub(crate) fn new(terminal: Terminal) -> Self {
        let steps = PlanView::from(&Plan::default());
        let state = State {
            began: Instant::now(),
            steps,
            overwritable: false,
            said: BTreeSet::new(),
        };
        Self {
            terminal,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The plan whose steps come next.
    pub(crate) fn planned(&self, plan: &Plan) {
        self.lock().steps = PlanView::from(plan);
    }

    /// Whom the engine tells.
    pub(crate) fn report(&self) -> Report {
        let shown = self.clone();
        Report::to(move |progress| shown.tell(&progress))
    }

    /// Ends the line that is written over.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        self.clear(&mut state);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, progress: &Progress) {
        let mut state = self.lock();
        match progress {
            Progress::Started { step } => {
                tracing::debug!(
                    step = step.0,
                    about = subject(&state.steps, *step),
                    "step begun"
                );
            }
            Progress::Waiting { step, status } => {
                let mut line = format!("{}  {:?}", subject(&state.steps, *step), status.phase);
                let running = status.backup.as_ref().and_then(|one| one.running.as_ref());
                if let Some(running) = running.filter(|one| one.work == Work::Restore) {
                    let words = words::progress(running, Timestamp::now());
                    line = format!("{line}, {words}");
                }
                if !self.terminal.is_interactive() {
                    return self.say_when_slow(&mut state, &line);
                }
                if state.began.elapsed() < QUIET_AT_FIRST {
                    return;
                }
                self.clear(&mut state);
                let line = self.terminal.paint_err(Tone::Waiting, &format!("… {line}"));
                self.terminal.error_text(&line);
                state.overwritable = true;
            }
            Progress::Done { step, took } => {
                tracing::debug!(
                    step = step.0,
                    about = subject(&state.steps, *step),
                    "step done"
                );
                let Some(view) = state.steps.steps.get(step.0 as usize) else {
                    return;
                };
                if view.action == "await-converged" || view.changes.is_empty() {
                    return;
                }
                let line = format!(
                    "{} {}  {}{}",
                    self.terminal.paint_err(Tone::Ok, "done"),
                    self.terminal
                        .paint_err(Tone::Heading, &subject(&state.steps, *step)),
                    printable(&view.changes.join("; ")),
                    slow(*took)
                );
                self.clear(&mut state);
                self.terminal.status(&line);
            }
            Progress::Failed { step, problem } => {
                let line = format!(
                    "{} {}  {problem}",
                    self.terminal.paint_err(Tone::Failed, "failed"),
                    subject(&state.steps, *step)
                );
                self.clear(&mut state);
                self.terminal.status(&line);
            }
        }
    }

    /// Where no line can be written over, each state is said once, and only by what is slow.
    fn say_when_slow(&self, state: &mut State, line: &str) {
        if state.began.elapsed() >= SLOW && state.said.insert(line.to_owned()) {
            self.terminal.status(&format!("waiting {line}"));
        }
    }

    fn clear(&self, state: &mut State) {
        if std::mem::take(&mut state.overwritable) {
            self.terminal.error_text("\r\x1b[2K");
        }
    }
}

fn subject(steps: &PlanView, step: StepId) -> String {
    match steps.steps.get(step.0 as usize) {
        Some(view) if view.subject.name.is_empty() => view.subject.kind.to_owned(),
        Some(view) => format!("{} {}", view.subject.kind, view.subject.name),
        None => String::new(),
    }
}

fn slow(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        String::new()
    } else {
        format!(" ({:.1} s)", took.as_secs_f32())
    }
}
