//! The address of a directory on an HTTP server.

use std::fmt;

use url::Url;

use crate::{host, percent};

/// `https://host[:port]/path[?query]`, or `http://`. The query stays behind the name of each file, because object stores and
/// CDNs have what lets a reader in there.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

/// What stands for a query, which may hold a secret.
const HIDDEN: &str = "?…";

impl HttpUrl {
    /// Reads an address. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|error| format!("it is not a URL ({error}); next: write https://host/path"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("it does not start with http:// or https:// and a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "it holds a user or a password; next: give the server what lets a reader in by `http.header`"
                    .to_owned(),
            );
        }
        if url.fragment().is_some() {
            return Err(
                "it has a part after #, which no server sees; next: leave it out".to_owned(),
            );
        }
        host::check_url(text, &url)?;
        Ok(Self(url))
    }

    /// The address of `name` inside this directory.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend(name.split('/').filter(|part| !part.is_empty()));
        }
        Self(url)
    }

    /// The folder that the address of a file names, and the file's name there. `None` if it ends with a slash.
    #[must_use]
    pub fn split(mut self) -> Option<(Self, String)> {
        let name = self.0.path_segments()?.next_back()?;
        let name = percent::decoded(name).ok()?;
        if name.is_empty() {
            return None;
        }
        self.0.path_segments_mut().ok()?.pop();
        Some((self, name))
    }

    /// The whole address. It may hold a secret.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The host: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.trim_matches(['[', ']'])
    }

    /// Whether the server proves who it is, and nobody reads along.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        url.set_query(None);
        f.write_str(url.as_str())?;
        f.write_str(self.0.query().map_or("", |_| HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::HttpUrl;

    fn url(text: &str) -> HttpUrl {
        HttpUrl::parse(text).expect("an address")
    }

    #[test]
    fn a_file_s_name_goes_before_the_query() {
        for (folder, file) in [
            ("https://a/gild", "https://a/gild/rpi5/golden.json"),
            ("https://a/gild/", "https://a/gild/rpi5/golden.json"),
            ("http://a:8080", "http://a:8080/rpi5/golden.json"),
            ("http://[fd00::1]/x", "http://[fd00::1]/x/rpi5/golden.json"),
            (
                "https://a/b?sig=x%2Fy",
                "https://a/b/rpi5/golden.json?sig=x%2Fy",
            ),
            (
                "https://a/My Share",
                "https://a/My%20Share/rpi5/golden.json",
            ),
        ] {
            let joined = url(folder).join("rpi5").join("golden.json");
            assert_eq!(joined.url().as_str(), file);
        }
        let odd = url("https://a/b").join("ä?#% .img");
        assert_eq!(odd.url().as_str(), "https://a/b/%C3%A4%3F%23%25%20.img");
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = url("https://a/b?sig=secret").join("c").to_string();
        assert_eq!(shown, "https://a/b/c?…");
        let shown = format!("{:?}", url("https://a/b?sig=secret"));
        assert_eq!(shown, "https://a/b?…");
        for text in ["https://me:secret@a/b", "https://secret@a/b"] {
            let error = HttpUrl::parse(text).expect_err("a password");
            assert!(
                error.contains("http.header") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_not_a_folder_on_a_web_server_is_refused() {
        for text in [
            "ftp://a/b",
            "https://",
            "a/b",
            "https://a/b#c",
            "data:x",
            "http://192.168.001.010",
        ] {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
    }
}
