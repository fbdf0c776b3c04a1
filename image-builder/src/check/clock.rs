//! What time the web servers say it is, and whether their certificates end soon. Nodes check certificates with a clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gild_card_format::{Config, ServerUrl};
use gild_golden::age;
use gild_http::Access;
use httpdate::parse_http_date;
use reqwest::Url;
use reqwest::header::DATE;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};

use gild_source::within::{self, Begun};

use super::address;
use super::foresight::{Ends, Foresight, SOON};
use super::report::{Check, Finding};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// For one server, with what a name server may take.
const WHOLE: Duration = Duration::from_secs(20);
/// A clock that is off by more is wrong.
const CLOSE: Duration = Duration::from_mins(1);

/// What one server's answer shows.
struct Visit {
    date: Option<SystemTime>,
    /// This machine's, when the answer came.
    own: SystemTime,
    ends: Option<Ends>,
}

/// A server, being asked.
pub struct Asking {
    shown: String,
    is_encrypted: bool,
    visit: Begun<Option<Visit>>,
}

/// Begins to ask each web server for one answer, of any kind: none of them is shown a header or a query.
pub fn begin(config: Option<&Config>, matchbox: Option<&Url>, access: &Access) -> Vec<Asking> {
    let servers = config.into_iter().flat_map(|config| &config.servers);
    let servers = servers.filter_map(|server| match server {
        ServerUrl::Http(url) => Some(url.url()),
        ServerUrl::Nfs(_) => None,
    });
    let mut asked: Vec<String> = Vec::new();
    let mut begun = Vec::new();
    for url in servers.chain(matchbox) {
        let mut url = url.clone();
        url.set_path("/");
        url.set_query(None);
        // What has no place for them has none of them.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let shown = address::shown(&url);
        if asked.contains(&shown) {
            continue;
        }
        asked.push(shown.clone());
        let roots = access.roots();
        begun.push(Asking {
            shown,
            is_encrypted: url.scheme() == "https",
            visit: within::begin(WHOLE, move || visit(&url, roots)),
        });
    }
    begun
}

fn visit(url: &Url, roots: Arc<RootCertStore>) -> Option<Visit> {
    let foresight = Arc::new(Foresight::new(roots).ok()?);
    let tls =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&foresight) as Arc<_>)
            .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .build()
        .ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let request = client.get(url.clone());
    let answer = runtime.block_on(async { request.send().await }).ok()?;
    let date = answer.headers().get(DATE);
    let date = date.and_then(|date| date.to_str().ok());
    Some(Visit {
        date: date.and_then(|date| parse_http_date(date).ok()),
        own: SystemTime::now(),
        ends: foresight.ends(),
    })
}

/// Judges what all servers say.
pub fn judge(asking: Vec<Asking>) -> Vec<Finding> {
    if asking.is_empty() {
        return vec![Finding::not_checked(
            Check::Clock,
            "this machine",
            "no web server was asked, and NFS does not say what time it is",
            "compare the output of `date` here and on the server",
        )];
    }
    asking
        .into_iter()
        .flat_map(|asking| {
            let visit = asking.visit.outcome().flatten();
            of_visit(&asking.shown, asking.is_encrypted, visit.as_ref())
        })
        .collect()
}

fn of_visit(shown: &str, is_encrypted: bool, visit: Option<&Visit>) -> Vec<Finding> {
    let unknown = |text| {
        let next = "compare the output of `date` here and on the server";
        Finding::not_checked(Check::Clock, shown, text, next)
    };
    let Some(visit) = visit else {
        return vec![unknown("no answer says what time it is there")];
    };
    let clock = match visit.date {
        None => unknown("its answer does not say what time it is"),
        Some(date) => of_date(shown, date, visit.own),
    };
    let certificate = is_encrypted.then(|| of_certificate(shown, visit.ends));
    [clock].into_iter().chain(certificate).collect()
}

fn of_date(shown: &str, date: SystemTime, own: SystemTime) -> Finding {
    let (off, way) = match date.duration_since(own) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if off <= CLOSE {
        let text = "its clock agrees with this machine's";
        return Finding::ok(Check::Clock, shown, text);
    }
    let text = format!("its clock is {} s {way} this machine's", off.as_secs());
    Finding::warning(
        Check::Clock,
        shown,
        &text,
        "let a time server set both clocks: a node checks certificates with the clock that it gets from such a server",
    )
}

fn of_certificate(shown: &str, ends: Option<Ends>) -> Finding {
    let days = age::days(0, SOON.as_secs());
    match ends {
        None => {
            let text = format!("its certificate is valid for at least {days} days");
            Finding::ok(Check::Certificate, shown, text)
        }
        Some(Ends { at }) => {
            let when = at.map_or_else(
                || format!("within {days} days"),
                |at| format!("on {}", age::shown(at)),
            );
            let text = format!("its certificate, or one of its authorities, ends {when}");
            Finding::warning(Check::Certificate, shown, &text, "renew it")
        }
    }
}

/// This machine's time since 1970.
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    const OWN: Duration = Duration::from_hours(500_000);

    fn judged(date: Duration) -> Finding {
        of_date("http://a", UNIX_EPOCH + date, UNIX_EPOCH + OWN)
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_a_minute_is_a_warning_either_way() {
        let (minute, second) = (Duration::from_mins(1), Duration::from_secs(1));
        for date in [OWN, OWN + minute, OWN.saturating_sub(minute)] {
            assert_eq!(judged(date).level, Level::Ok, "{date:?}");
        }
        for (date, way) in [
            (OWN + minute + second, "61 s ahead of"),
            (OWN.saturating_sub(minute + second), "61 s behind"),
        ] {
            let found = judged(date);
            assert_eq!(found.level, Level::Warning);
            assert!(found.message.contains(way), "{found}");
        }
    }

    #[test]
    fn a_server_that_says_no_time_is_not_checked() {
        let silent = Visit {
            date: None,
            own: UNIX_EPOCH + OWN,
            ends: None,
        };
        for visit in [None, Some(&silent)] {
            let found = of_visit("http://a", false, visit);
            assert_eq!((found.len(), found[0].level), (1, Level::NotChecked));
        }
        assert_eq!(judge(Vec::new())[0].level, Level::NotChecked);
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_with_the_day() {
        let ends = Some(Ends {
            at: Some(OWN.as_secs()),
        });
        let found = of_certificate("https://a", ends);
        assert_eq!(found.level, Level::Warning);
        assert!(found.message.contains("2027-01-15"), "{found}");
        assert_eq!(of_certificate("https://a", None).level, Level::Ok);
    }
}
