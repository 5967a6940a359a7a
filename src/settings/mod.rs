//! The settings of the process. They are read from `postrider.toml`, then from `POSTRIDER_*` variables, then
//! from flags; the origin of each is recorded. [`secrets`] has the sealing key and the token file.

mod error;
mod flags;
mod load;
mod print;
pub mod secrets;
mod table;
mod values;

pub(crate) use error::nearest;
pub use error::{ConfigError, ConfigFault};
pub use flags::SettingFlags;
pub use load::{Given, Loaded, Origin, load};
pub use table::{SETTINGS, Setting};
pub use values::{LogFormat, Settings};
