//! QEMU's control channel: JSON lines over the process's own standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer a command, on a loaded machine.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// An open control channel.
pub struct Qmp {
    input: ChildStdin,
    answers: Receiver<Value>,
    events: Arc<Mutex<Vec<Value>>>,
    /// Reads what QEMU says, until QEMU has ended.
    reader: Option<JoinHandle<()>>,
}

impl Qmp {
    /// Shakes hands with a QEMU that was started with `-qmp stdio`.
    pub fn open(input: ChildStdin, output: ChildStdout) -> Result<Self> {
        let (sender, answers) = channel();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if message.get("event").is_some() {
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(message);
                } else if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut qmp = Self {
            input,
            answers,
            events,
            reader: Some(reader),
        };
        qmp.receive().context("QEMU's greeting")?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its result.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut request = json!({ "execute": command });
        request["arguments"] = arguments;
        writeln!(self.input, "{request}")
            .with_context(|| format!("sending `{command}` to QEMU"))?;
        let mut answer = self
            .receive()
            .with_context(|| format!("QEMU's answer to `{command}`"))?;
        if let Some(error) = answer.get("error") {
            bail!("QEMU refused `{request}`: {}", error["desc"]);
        }
        Ok(answer["return"].take())
    }

    /// Waits until everything from a QEMU that has ended is read.
    pub fn read_to_the_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has nothing more to say.
            let _ = reader.join();
        }
    }

    /// The reason of the last shutdown event: `guest-shutdown`, `guest-reset`, `guest-panic`...
    #[must_use]
    pub fn shutdown_reason(&self) -> Option<String> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let last = events
            .iter()
            .rev()
            .find(|event| event["event"] == "SHUTDOWN")?;
        last["data"]["reason"].as_str().map(str::to_owned)
    }

    /// Has this event come?
    #[must_use]
    pub fn saw(&self, event: &str) -> bool {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().any(|seen| seen["event"] == event)
    }

    fn receive(&self) -> Result<Value> {
        self.answers
            .recv_timeout(ANSWER_TIME)
            .context("nothing came: has QEMU ended?")
    }
}
