//! An entry on its way in: whether it counts among what is here.

use crate::auth::{Admission, Case, Need, Rights, SettingsEntry};
use crate::dag::Seen;
use crate::entry::Header;

/// An entry that has passed the door and is about to come in.
pub(crate) struct Coming {
    pub settings: Option<SettingsEntry>,
    /// True if it does not count.
    pub void: bool,
    /// Everything below it.
    pub below: Seen,
    need: Need,
}

impl Coming {
    pub fn new(rights: &Rights, admission: Admission, number: u64, header: &Header, below: Seen) -> Coming {
        let need = admission.need;
        let settings = admission.settings_entry(number, header, &below);
        let void = match &settings {
            Some(entry) => rights.void_with(entry).contains(number),
            None => {
                let case = Case { number, author: header.author, below: &below, need, is_settings: false };
                !rights.upholds(&case, &Seen::all_before(number), rights.void())
            }
        };
        Coming { settings, void, below, need }
    }

    /// The number of the removal by which it does not count, as far as it is one.
    pub fn struck_by(&self, rights: &Rights, number: u64, header: &Header) -> Option<u64> {
        let Coming { below, need, .. } = self;
        let case = Case { number, author: header.author, below, need: *need, is_settings: self.settings.is_some() };
        rights.struck_by(&case, &Seen::all_before(number), rights.void())
    }
}
