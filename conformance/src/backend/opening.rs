//! What lies where a store is opened, and is none.

use std::path::PathBuf;

use eidetica_contract::ErrorKind;

use super::{Ground, kind};
use crate::case::case;
use crate::{Case, Place};

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.opening.another-kind-is-refused",
        "What lies at the place and is no store of this backend is refused with [`ErrorKind::InvalidInput`], or with [`ErrorKind::Corrupted`] where it cannot be told from a store whose beginning is damaged, and is left as it is.",
        another_kind_is_refused, need Path),
    case!(Backend, must "backend.opening.a-missing-place-is-told",
        "A place that does not exist, such as a file in a directory that nobody has made, is [`ErrorKind::NotFound`], and is not made.",
        a_missing_place_is_told, need Path),
];

fn path(place: &dyn Place) -> PathBuf {
    place.path().expect("the store lies at a path")
}

async fn another_kind_is_refused(ground: Ground) {
    // A line, and some pages of an engine.
    for repeated in [1, 2000] {
        let place = ground.place().await;
        let text = "Milk, bread, apples\n".repeat(repeated);
        std::fs::write(path(&*place), &text).expect("a file of another kind");
        for _ in 0..2 {
            let found = kind(place.open().await);
            let refused = matches!(found, Some(ErrorKind::InvalidInput | ErrorKind::Corrupted));
            assert!(refused, "a text of {} bytes is no store, and opening it gives {found:?}", text.len());
            let there = std::fs::read(path(&*place)).expect("the file is still there");
            assert!(there == text.as_bytes(), "a file of another kind was changed");
        }
    }
}

async fn a_missing_place_is_told(ground: Ground) {
    let place = ground.place().await;
    let directory = path(&*place).parent().expect("the store lies in a directory").to_owned();
    std::fs::remove_dir_all(&directory).expect("the directory goes");
    for _ in 0..2 {
        assert_eq!(kind(place.open().await), Some(ErrorKind::NotFound), "a store is opened where no directory is");
        assert!(!directory.exists(), "the directory was made");
    }
}
