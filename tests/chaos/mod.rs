//! Nodes on one PostgreSQL database while nodes, servers and connections fail.

mod clocks;
mod commit_answers;
mod followed;
mod limits;
mod rounds;
mod servers;
