//! The limits of format version 1.
//!
//! These numbers decide what is admitted, so every peer must agree on them for ever: they belong to the format and are
//! written down in `docs/spec/entry.md`. Limits that only protect this process stand where they are applied.

/// The version of the entry format.
pub const FORMAT_VERSION: u8 = 1;
/// The longest header in bytes, signature included.
pub const MAX_HEADER: usize = 64 << 10;
/// The most parents of one entry.
pub const MAX_PARENTS: usize = 64;
/// The most stores that one entry touches.
pub const MAX_STORES: usize = 128;
/// The longest name of a store in bytes of UTF-8; the shortest is one byte.
pub const MAX_STORE_NAME: usize = 128;
/// The longest name of a store kind in bytes of UTF-8; the shortest is one byte.
pub const MAX_KIND_NAME: usize = 32;
/// The most bytes of all bodies of one entry together.
pub const MAX_BODIES: usize = 8 << 20;
/// The longest key of a cell in bytes, in its encoded form (paths of documents, keys of rows).
pub const MAX_CELL: usize = 768;
/// The longest position of a list element in bytes.
pub const MAX_POSITION: usize = 256;
/// How deep a value may be nested.
pub const MAX_DEPTH: usize = 64;
/// The most operations on rights in one settings delta.
pub const MAX_RIGHTS: usize = 1024;
/// The greatest height.
pub const MAX_HEIGHT: u64 = (1 << 53) - 1;
