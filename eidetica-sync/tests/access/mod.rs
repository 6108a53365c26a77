//! Grants, requests, and who may read.

mod grants;
mod kit;
mod reading;
