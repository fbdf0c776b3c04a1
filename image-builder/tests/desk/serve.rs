//! A running desk, and what comes to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use gild_http::Access;
use gild_http_testkit::free_port;
use gild_report::{ReportKey, SIGNATURE_HEADER};
use reqwest::Method;
use serde_json::Value;

use crate::common::{Bench, Ran};

pub const MAC: &str = "d8:3a:dd:01:02:03";
pub const TOKEN: &str =
    "K1072b45d7512215efce211384f6fcdbaa93e621b8cd01b8c0c69484c14b289ca51::node:s3cret";

pub const ARGUMENTS: [&str; 4] = ["serve", "desk", "--listen", "127.0.0.1"];

pub fn init(bench: &Bench, more: &[&str]) -> Ran {
    fs::write(bench.path("token"), format!("{TOKEN}\n")).expect("a file");
    let [https, http, nfs] = [(); 3].map(|()| free_port().expect("a port").to_string());
    let mut args = vec![
        "init",
        "desk",
        "--k3s-token-file",
        "token",
        "--https-port",
        &https,
        "--http-port",
        &http,
        "--nfs-port",
        &nfs,
    ];
    for (option, value) in [
        ("--address", "127.0.0.1"),
        ("--k3s-url", "https://k3s.invalid:6443"),
    ] {
        if !more.contains(&option) {
            args.extend([option, value]);
        }
    }
    args.extend(more);
    bench.gild(args)
}

/// A running `gild serve`. It is killed when dropped, as by a power cut.
pub struct Serve {
    pub child: Child,
    _stderr: BufReader<ChildStderr>,
    pub authority: String,
    settings: String,
}

impl Serve {
    pub fn start(bench: &Bench) -> Self {
        let mut command = bench.command();
        command.args(ARGUMENTS);
        Self::of(bench, command)
    }

    /// As a command that ends in `gild serve` starts it.
    pub fn of(bench: &Bench, mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("gild");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("the page: https://") {
            line.clear();
            assert!(
                stderr.read_line(&mut line).expect("text") > 0,
                "it has ended"
            );
        }
        Self {
            child,
            _stderr: stderr,
            authority: fs::read_to_string(bench.path("desk/tls/ca.pem")).expect("a certificate"),
            settings: fs::read_to_string(bench.path("desk/desk.toml")).expect("settings"),
        }
    }

    pub fn port(&self, name: &str) -> &str {
        let mut lines = self.settings.lines();
        let value = lines.find_map(|line| line.strip_prefix(&format!("{name}_port = ")));
        value.expect("a port")
    }

    pub fn https(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port("https"))
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port("http"))
    }

    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
        self.send(Method::GET, url, None, headers)
    }

    pub fn delete(&self, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
        self.send(Method::DELETE, url, None, headers)
    }

    pub fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, String) {
        let body = Some(body.to_string());
        self.send(Method::POST, &self.https(path), body, headers)
    }

    fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let access = Access::new(Some(&self.authority), None).expect("an authority");
            let client = access.client().build().expect("a client");
            let mut request = client.request(method, url);
            if let Some(body) = body {
                request = request
                    .header("content-type", "application/json")
                    .body(body);
            }
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            (status, answer.text().await.expect("text"))
        })
    }

    pub fn report(&self, bench: &Bench, report: &Value) -> u16 {
        let key = fs::read_to_string(bench.path("desk/report.key")).expect("a key");
        self.report_by(&ReportKey::parse(&key).expect("a key"), report)
    }

    /// The report of a card that has this key.
    pub fn report_by(&self, key: &ReportKey, report: &Value) -> u16 {
        let signature = key.sign(report.to_string().as_bytes());
        self.post("/report", report, &[(SIGNATURE_HEADER, &signature)])
            .0
    }

    pub fn metadata(&self) -> String {
        let url = self.https(&format!("/metadata?mac={MAC}"));
        let (status, body) = self.get(&url, &[]);
        assert_eq!(status, 200, "{body}");
        body
    }

    pub fn rack(&self) -> Value {
        let (_, body) = self.get(&self.https("/rack.json"), &[]);
        serde_json::from_str(&body).expect("JSON")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("an end");
    }
}
