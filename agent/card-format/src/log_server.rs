//! `syslog`: where the lines of the console are sent.

use url::Url;

use crate::config::ConfigError;

const USUAL_PORT: u16 = 514;

/// A log server that takes RFC 5424 over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Reads `udp://host[:port]`.
pub fn read(text: Option<&str>) -> Result<Option<LogServer>, ConfigError> {
    text.map(|text| {
        parse(text).ok_or_else(|| ConfigError::Hidden {
            key: "syslog",
            problem: "it should be like udp://192.168.1.2:514".to_owned(),
        })
    })
    .transpose()
}

fn parse(text: &str) -> Option<LogServer> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    let host = url.host_str()?.trim_matches(['[', ']']);
    (url.scheme() == "udp" && is_bare && !host.is_empty()).then(|| LogServer {
        host: host.to_owned(),
        port: url.port().unwrap_or(USUAL_PORT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_the_usual_port_or_another() {
        for (text, host, port) in [
            ("udp://logs.lan", "logs.lan", 514),
            ("udp://192.168.1.2:5514/", "192.168.1.2", 5514),
            ("udp://[fd00::1]:514", "fd00::1", 514),
        ] {
            let host = host.to_owned();
            assert_eq!(parse(text), Some(LogServer { host, port }), "{text}");
        }
        for wrong in [
            "logs.lan:514",
            "tcp://logs.lan",
            "udp://",
            "udp://me:s3cret@logs.lan",
            "udp://logs.lan/x",
        ] {
            let error = read(Some(wrong)).expect_err(wrong).to_string();
            assert!(
                error.contains("udp://") && !error.contains("s3cret"),
                "{error}"
            );
        }
        assert_eq!(read(None), Ok(None));
    }
}
