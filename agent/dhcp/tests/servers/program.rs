//! A server's program at the other end of the cable.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::lan::Place;

/// A running program. Dropping it kills it.
pub struct Program(Child);

impl Program {
    /// Starts one, and waits until it has said these words.
    pub fn start(place: &Place, name: &'static str, mut command: Command, ready: &str) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        // Kea writes to its standard output, whatever it is asked.
        command.stdout(Stdio::piped());
        let mut child = place
            .run(move || command.spawn())
            .unwrap_or_else(|error| panic!("{name} starts ({error}): `make setup` installs it"));
        let stdout = child.stdout.take().expect("its output");
        let stderr = child.stderr.take().expect("its errors");
        let running = Self(child);
        let output: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        let (lines, received) = std::sync::mpsc::channel();
        // Both are read to their ends, because a pipe that nobody reads would stop the program.
        for stream in output {
            let lines = lines.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = lines.send(line);
                }
            });
        }
        drop(lines);
        let mut said = String::new();
        while !said.contains(ready) {
            let line = received
                .recv()
                .unwrap_or_else(|_| panic!("{name} ended before it was ready: {said}"));
            said.push_str(&line);
            said.push('\n');
        }
        running
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
