//! The local database, end to end.

mod documents;
mod smoke;
