//! A browser for one test: Debian's Chromium, headless, driven through its driver. It ends with its
//! test, however that ends. Waits are for conditions; what takes too long fails with the page as it was.

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

/// A condition that takes longer than this fails its test.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How large the window is and how it draws.
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

/// Runs a test's steps in a browser of its own and ends the browser, also when they panic. What the
/// browser had to complain about on the way fails the test.
pub(crate) async fn browse<F: Future<Output = ()>>(base: String, steps: impl FnOnce(Browser) -> F) {
    // The driver's own client takes the process's default.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let profile = TempDir::new().unwrap();
    let (mut process, address) = start_driver().await;
    let driver = WebDriver::new(address, capabilities(profile.path())).await.unwrap();
    let browser = Browser { driver: driver.clone(), base };
    let ended = AssertUnwindSafe(Box::pin(steps(browser))).catch_unwind().await;
    let complaints = driver.browser_log().await.unwrap_or_default();
    driver.quit().await.unwrap();
    process.kill().await.unwrap();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    // Answers that a test provokes are no complaints; everything else a page is at fault for.
    let faults: Vec<_> = complaints
        .iter()
        .map(|entry| entry.message.clone())
        .filter(|text| !text.contains("the server responded with a status of 4"))
        .collect();
    assert!(faults.is_empty(), "the browser complains: {faults:#?}");
}

/// Starts the driver on a port that it chooses for IPv4, and gives up where another has that for IPv6:
/// then once more.
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
            // It goes on writing: the pipe has to be read for it not to stand still.
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
        // As root in a container there is no sandbox to be had, and little shared memory.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "--lang=en-US",
        &format!("--window-size={},{}", DESKTOP.width, DESKTOP.height),
        // When the driver goes, its end of the pipe closes and the browser goes as well.
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

    /// Sizes the window and sets the system's choice of light or dark.
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

    /// The element, once it is there and shown.
    pub(crate) async fn one(&self, css: &str) -> WebElement {
        let query = self.driver.query(By::Css(css.to_owned())).wait(PATIENCE, LOOK);
        match query.and_displayed().first().await {
            Ok(element) => element,
            Err(_) => panic!("nothing shown that is {css}"),
        }
    }

    /// Presses the button or the link with this text, once it is shown.
    pub(crate) async fn press(&self, text: &str) {
        let path = format!(
            "//*[self::button or self::a or self::summary][normalize-space(.)={}]",
            quoted(text)
        );
        let query = self.driver.query(By::XPath(path)).wait(PATIENCE, LOOK);
        let Ok(element) = query.and_displayed().first().await else {
            panic!("no button or link {text:?}");
        };
        element.click().await.unwrap();
    }

    /// Types into a field in place of what was there.
    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        let field = self.one(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Takes what the browser has complained of so far, all of which has to be of this kind.
    pub(crate) async fn forgive(&self, kind: &str) {
        for entry in self.driver.browser_log().await.unwrap() {
            assert!(entry.message.contains(kind), "{}", entry.message);
        }
    }

    /// Returns once the page's text contains this.
    pub(crate) async fn until_text(&self, wanted: &str) {
        self.until(&format!("the text {wanted:?}"), async || self.text().await.contains(wanted))
            .await;
    }

    /// Returns once the path (and query) is this.
    pub(crate) async fn until_at(&self, wanted: &str) {
        self.until(&format!("the path {wanted}"), async || self.path().await == wanted).await;
    }

    /// Returns once the condition holds.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let waiting = async {
            let mut look = tokio::time::interval(LOOK);
            while !holds().await {
                look.tick().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("never came: {what}; at {} there is:\n{}", self.path().await, self.text().await);
        }
    }

    /// What a reader sees.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// The path with its query.
    pub(crate) async fn path(&self) -> String {
        let path = self.run("return location.pathname + location.search").await;
        path.as_str().unwrap_or_default().to_owned()
    }

    /// What a script gives.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn keys(&self, keys: &str) {
        self.driver.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// The window as it is drawn, as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.driver.screenshot_as_png().await.unwrap()
    }
}

/// A text as an XPath literal; none of ours has both kinds of quotes.
fn quoted(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}
