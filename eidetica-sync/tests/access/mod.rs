//! Grants, requests, and who may read.

mod asked;
mod book;
mod deciding;
mod flooding;
mod grants;
mod kit;
mod reading;
mod requests;
mod vectors;
