//! The rules one by one: if the oracle does not keep one of them, some vector notices.
//!
//! So each sentence of the rules is held by an example whose answer is written out, and not only by an oracle that was written with
//! the same understanding as the core.

use super::vectors::{OWN, Vector, of_the_rules};

macro_rules! rules {
    ($($(#[$text:meta])* $rule:ident,)*) => {
        /// A sentence of the rules that can be left out by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rule {
            $($(#[$text])* $rule,)*
        }

        const ALL: &[Rule] = &[$(Rule::$rule,)*];
    };
}

rules! {
    /// 3: the rank of a settings entry is the right that its author had. Without: all have the same.
    RankIsThatOfTheAuthor,
    /// 3: without, stepping down has the rank of its author.
    SteppingDownRanksAboveAll,
    /// 4a: of a grant and a limit that are concurrent, one is left out.
    OneOfGrantAndLimitStays,
    /// 4a: that of the lower rank. Without: that of the higher one.
    TheHigherRankStays,
    /// 4a: of equal rank the grant. Without: the limit.
    LimitsWinAmongEquals,
    /// 4b: what another one that stays is above does not decide.
    TheTopmostDecide,
    /// 4b: of limits the least holds. Without: the greatest.
    LeastLimit,
    /// 4b: of grants the greatest. Without: the least.
    GreatestGrant,
    /// 4c: without, a limit to more than a key has raises it.
    LimitsNeverRaise,
    /// 4c: without, a grant of less than a key has lowers it.
    GrantsNeverLower,
    /// 5: who is removed has not even what everybody has.
    RemovedIsShutOut,
    /// 6: the author needs the right to write.
    AuthorNeedsWrite,
    /// 6: for settings, that of an admin.
    SettingsNeedAdmin,
    /// 6: equals and seniors cannot be set.
    EqualsAndSeniorsAreOutOfReach,
    /// 6: a grant gives more than the key has.
    GrantsRaise,
    /// 6: and less than its author has.
    GrantsStayBelowTheirAuthor,
    /// 6: a limit leaves less than the key has.
    LimitsLower,
    /// 6: so does stepping down.
    SteppingDownLowers,
    /// 3: and it holds no other operation.
    SteppingDownStandsAlone,
    /// 7: what is above a refused entry is refused.
    AboveRefused,
    /// 9: settings entries are judged by falling rank. Without: by rising rank.
    SeniorsAreJudgedFirst,
    /// 10: a settings entry needs its full rank. Without: to be an admin is enough.
    SettingsNeedTheirRank,
    /// 11a: what it sets had less than its rank, by what counts.
    SeniorToWhatItSets,
    /// 11b i
    ByWhatItSaw,
    /// 11b ii
    ByEachRemoval,
    /// 11b iii
    ByAllRemovals,
    /// 11b: a limit on everybody removes, too.
    LimitsOnEverybodyRemove,
    /// 11b: a key's stepping down takes nothing from its data.
    SteppingDownSparesData,
    /// 12: what is void neither gives nor takes rights.
    VoidHasNoEffect,
    /// 13: who stands on a void entry is not void for that.
    AboveVoidStandsOnItsOwn,
    /// 14: what was written beside a removal stays void. Without: the rights of the whole set decide.
    NothingRevives,
    /// 17: what is below an effective entry is live, void or not.
    WhatIsBelowLivesToo,
}

#[test]
fn each_rule_that_is_left_out_is_noticed_by_a_vector() {
    let mut unnoticed = Vec::new();
    for &rule in ALL {
        let names = |vectors: &[&'static str]| -> Vec<&'static str> {
            let fails = |text: &&&str| Vector::without(Some(rule), text, 0).check_oracle().is_err();
            vectors.iter().filter(fails).map(|text| text.split('|').next().unwrap_or_default().trim()).collect()
        };
        let noticed = [names(&of_the_rules()), names(&OWN)].concat();
        println!("{rule:?}: {}", noticed.join(", "));
        if noticed.is_empty() {
            unnoticed.push(rule);
        }
    }
    assert!(unnoticed.is_empty(), "no vector holds {unnoticed:?}");
}
