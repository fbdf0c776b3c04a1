//! Debian's headless Chromium, driven by the protocol of its developer tools over a pipe: JSON objects, each with a zero byte behind it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long an answer, or a change of the page, may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    sent: u64,
    session: Option<String>,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Opens a page in a window of this size.
    pub fn open(url: &str, width: u32, height: u32) -> Self {
        let profile = TempDir::new().expect("a folder");
        // The pipes are the descriptors 3 and 4. Containers of CI lack what the sandbox needs, and the page is our own.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
            ])
            .args([
                "chromium-headless-shell",
                "--remote-debugging-pipe",
                "--no-sandbox",
            ])
            .args(["--disable-gpu", "--hide-scrollbars", "--lang=en-GB"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("LANGUAGE", "en_GB")
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (send, from) = channel();
        thread::spawn(move || {
            for message in stdout.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            to: child.stdin.take(),
            child,
            from,
            sent: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Accessibility", "Security"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        // The certificate is by the desk's own authority. `service` has clients that check it.
        browser.call(
            "Security.setIgnoreCertificateErrors",
            &json!({"ignore": true}),
        );
        browser.resize(width, height);
        browser.go(url);
        browser
    }

    /// Goes to an address.
    pub fn go(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({"url": url}));
        assert_eq!(answer.get("errorText"), None, "{url}");
        self.until("document.readyState === 'complete'");
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What the user has set: `prefers-color-scheme`, for example.
    pub fn prefer(&mut self, features: &[(&str, &str)]) {
        let features: Vec<_> = features
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// The value of an expression on the page.
    pub fn js(&mut self, expression: &str) -> Value {
        let question =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &question);
        assert_eq!(answer.get("exceptionDetails"), None, "{expression}");
        answer["result"]["value"].clone()
    }

    pub fn text(&mut self, expression: &str) -> String {
        let value = self.js(expression);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{expression} is {value}"))
            .to_owned()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.js(expression) != true {
            assert!(
                start.elapsed() < PATIENCE,
                "{expression} does not become true; the page says:\n{}\n{:?}",
                self.text("document.body.innerText"),
                self.problems()
            );
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Presses a key that is not text: `Tab`, `Enter`, `Escape`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            other => panic!("the code of {other}"),
        };
        let mut event =
            json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", &event);
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", &event);
    }

    /// Writes into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// What the browser complains about: exceptions, errors and warnings, and what the Content-Security-Policy has stopped.
    pub fn problems(&mut self) -> Vec<String> {
        self.js("0");
        let is_problem = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => ["error", "warning", "assert"]
                .contains(&event["params"]["type"].as_str().unwrap_or("")),
            Some("Log.entryAdded") => ["error", "warning"]
                .contains(&event["params"]["entry"]["level"].as_str().unwrap_or("")),
            _ => false,
        };
        self.events
            .iter()
            .filter(is_problem)
            .map(Value::to_string)
            .collect()
    }

    /// Role and name of all that a screen reader meets.
    pub fn names(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let nodes = tree["nodes"].as_array().expect("nodes").iter();
        let text = |value: &Value| {
            value["value"]
                .as_str()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        nodes
            .filter(|node| node["ignored"] != true)
            .map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    /// What the window shows, as `png` or `webp`.
    pub fn picture(&mut self, format: &str) -> Vec<u8> {
        let answer = self.call(
            "Page.captureScreenshot",
            &json!({"format": format, "quality": 85}),
        );
        // The page knows how to read base64.
        let data = answer["data"].as_str().expect("data");
        let hex = self.text(&format!(
            "Array.from(atob('{data}'), (c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join('')"
        ));
        hex::decode(hex).expect("hex digits")
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let to = self.to.as_mut().expect("an open pipe");
        let written = to.write_all(&bytes);
        loop {
            let answer = self.from.recv_timeout(PATIENCE);
            let (Ok(()), Ok(answer)) = (&written, answer) else {
                panic!(
                    "Chromium does not answer {method}; next: install it: make setup, or the package chromium-headless-shell"
                );
            };
            if answer["id"] == self.sent {
                assert_eq!(answer.get("error"), None, "{method}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when nobody holds the pipe. The program of Debian's package is a script that waits for the browser.
        drop(self.to.take());
        let _ = self.child.wait();
    }
}
