//! Test receivers: the inspectors of a running service, and the standalone receiver of `postrider listen`
//! and `dev`. They verify signatures, answer from a script and forward nothing.

mod answer;
mod arrival;
mod arrival_counter;
mod http_server;
mod name;
mod receiver;
mod registry;
mod script;
mod verify;

pub use answer::{Answer, AnswerFault};
pub use arrival::Arrival;
pub use http_server::{HttpServer, ListenError};
pub use name::InspectorName;
pub use receiver::{Receiver, ReceiverOptions};
pub use registry::{
    InspectedRequest, Inspector, Inspectors, KnownSecret, KnownSecrets, Reply, SecretChange,
};
pub use script::{Script, ScriptError};
pub use verify::Verdict;
