//! A browser for one test: headless Chromium through chromedriver, ended with the test. Waits are for
//! conditions; a timeout fails with the text of the page.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::extensions::query::ElementQueryable as _;
use thirtyfour::{
    By, ChromeCapabilities, ChromiumLikeCapabilities as _, DesiredCapabilities,
    LoggingPrefsLogLevel, WebDriver, WebElement,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The timeout of a condition.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The poll interval of a condition.
const POLL: Duration = Duration::from_millis(50);

/// Window size and colour scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

pub(crate) const DESKTOP: View = View { width: 1240, height: 780, dark: false };
pub(crate) const DARK: View = View { dark: true, ..DESKTOP };
pub(crate) const PHONE: View = View { width: 360, height: 780, dark: false };

/// A browser at a service's address.
pub(crate) struct Browser {
    driver: WebDriver,
    base: String,
}

/// Runs a test's steps in a browser and ends it, also on panic. Errors in the browser's console fail the
/// test.
pub(crate) async fn browse<F: Future<Output = ()>>(base: String, steps: impl FnOnce(Browser) -> F) {
    // The driver's own client takes the process's default.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let profile = TempDir::new().unwrap();
    let (mut process, address) = start_driver().await;
    let driver = WebDriver::new(address, capabilities(profile.path())).await.unwrap();
    let browser = Browser { driver: driver.clone(), base };
    let ended = AssertUnwindSafe(Box::pin(steps(browser))).catch_unwind().await;
    let console = driver.browser_log().await.unwrap_or_default();
    driver.quit().await.unwrap();
    process.kill().await.unwrap();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    // Responses with a 4xx status are expected by the tests that provoke them.
    let faults: Vec<_> = console
        .iter()
        .map(|entry| entry.message.clone())
        .filter(|text| !text.contains("the server responded with a status of 4"))
        .collect();
    assert!(faults.is_empty(), "errors in the console: {faults:#?}");
}

/// Starts the driver on a free port. It picks one for IPv4 and fails if the same port is taken for IPv6:
/// then it is started again.
async fn start_driver() -> (Child, String) {
    for _ in 0..10 {
        if let Some(started) = try_to_start_driver().await {
            return started;
        }
    }
    panic!("chromedriver did not start");
}

async fn try_to_start_driver() -> Option<(Child, String)> {
    let mut process = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver: tests/web/install gets it");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            let address = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
            // The driver blocks when its output is not read.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some((process, address));
        }
    }
    None
}

fn capabilities(profile: &Path) -> ChromeCapabilities {
    let mut wanted = DesiredCapabilities::chrome();
    for argument in [
        "--headless=new",
        // In a container there is no sandbox for root and little shared memory.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "--lang=en-US",
        &format!("--window-size={},{}", DESKTOP.width, DESKTOP.height),
        // The browser exits when the driver closes the pipe.
        "--remote-debugging-pipe",
        &format!("--user-data-dir={}", profile.display()),
    ] {
        wanted.add_arg(argument).unwrap();
    }
    wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
    wanted
}

impl Browser {
    /// Opens a path of the service.
    pub(crate) async fn open(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.base)).await.unwrap();
    }

    /// Signs in through the form.
    pub(crate) async fn sign_in(&self, token: &str) {
        self.open("/sign-in").await;
        self.open("/sign-in").await;
        self.type_into("#token", token).await;
        self.press("Sign in").await;
        self.one(".side").await;
    }

    /// Sets the window size and the preferred colour scheme.
    pub(crate) async fn view(&self, view: View) {
        let size = json!({
            "width": view.width, "height": view.height, "deviceScaleFactor": 1,
            "mobile": view.width < 600,
        });
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if view.dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.tell("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    async fn tell(&self, command: &str, parameters: Value) {
        self.driver.cdp().send_raw(command, parameters).await.unwrap();
    }

    /// Waits for an element to be displayed.
    pub(crate) async fn one(&self, css: &str) -> WebElement {
        let query = self.driver.query(By::Css(css.to_owned())).wait(TIMEOUT, POLL);
        match query.and_displayed().first().await {
            Ok(element) => element,
            Err(_) => panic!("nothing shown that is {css}"),
        }
    }

    /// Clicks the button, link or summary with this text, once it is displayed.
    pub(crate) async fn press(&self, text: &str) {
        let path = format!(
            "//*[self::button or self::a or self::summary][normalize-space(.)={}]",
            quoted(text)
        );
        let query = self.driver.query(By::XPath(path)).wait(TIMEOUT, POLL);
        let Ok(element) = query.and_displayed().first().await else {
            panic!("no button or link {text:?}");
        };
        element.click().await.unwrap();
    }

    /// Replaces the text of a field.
    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        let field = self.one(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Drops the console's errors so far, each of which must contain one of these texts.
    pub(crate) async fn expect_errors(&self, kinds: &[&str]) {
        for entry in self.driver.browser_log().await.unwrap() {
            let is_expected = kinds.iter().any(|kind| entry.message.contains(kind));
            assert!(is_expected, "{}", entry.message);
        }
    }

    /// Waits until the page's text contains this.
    pub(crate) async fn until_text(&self, wanted: &str) {
        self.until(&format!("the text {wanted:?}"), async || self.text().await.contains(wanted))
            .await;
    }

    /// Waits until the path and query string are this.
    pub(crate) async fn until_at(&self, wanted: &str) {
        self.until(&format!("the path {wanted}"), async || self.path().await == wanted).await;
    }

    /// Waits until the condition holds.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let waiting = async {
            let mut look = tokio::time::interval(POLL);
            while !holds().await {
                look.tick().await;
            }
        };
        if tokio::time::timeout(TIMEOUT, waiting).await.is_err() {
            panic!(
                "timeout waiting for {what}; {} shows:\n{}",
                self.path().await,
                self.text().await
            );
        }
    }

    /// The visible text of the page.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// The path with its query string.
    pub(crate) async fn path(&self) -> String {
        let path = self.run("return location.pathname + location.search").await;
        path.as_str().unwrap_or_default().to_owned()
    }

    /// The result of a script.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Sends keys to the focused element.
    pub(crate) async fn keys(&self, keys: &str) {
        self.driver.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// A screenshot as PNG.
    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        self.driver.screenshot_as_png().await.unwrap()
    }
}

/// Text as an XPath literal; no label has both kinds of quotes.
fn quoted(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}
