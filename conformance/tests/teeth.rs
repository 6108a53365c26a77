//! The suite has teeth: implementations with one defect each are caught by the cases, and those without pass.
//!
//! In a program of its own: what the cases panic about is wanted here, and kept from the screen.

use std::collections::BTreeSet;

use eidetica_conformance::{Level, cases, mutants, process, run};

/// In another process: one that opens a store and is killed.
#[test]
fn is_another_process_when_it_is_asked() {
    process::serve();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defects_are_caught_and_what_is_sound_passes() {
    // At once: most of both is waiting.
    process::reached_by(["--exact", "is_another_process_when_it_is_asked", "--nocapture"]);
    std::panic::set_hook(Box::new(|_| {}));
    let mut sound = tokio::task::JoinSet::new();
    mutants::references().into_iter().for_each(|suite| drop(sound.spawn(run(suite))));
    let (reports, kills) = tokio::join!(sound.join_all(), mutants::kills(false));
    let _ = std::panic::take_hook();
    let kills = kills.unwrap();
    // Every case has run on one of them at least.
    let mut ran = BTreeSet::new();
    for report in reports {
        let report = report.unwrap();
        assert!(report.certifies(), "{:#?}", report.problems());
        ran.extend(report.executed.iter().map(|one| one.case));
    }
    let never: Vec<&str> = cases().map(|case| case.id).filter(|id| !ran.contains(id)).collect();
    assert!(never.is_empty(), "cases that ran on no implementation without a defect: {never:?}");

    let escapes =
        kills.iter().flat_map(|kill| kill.escaped().into_iter().map(|case| format!("{} escapes {case}", kill.defect)));
    let escapes: Vec<String> = escapes.collect();
    assert!(escapes.is_empty(), "{escapes:#?}");
    let caught: BTreeSet<&str> = kills.iter().flat_map(|kill| kill.caught.iter().copied()).collect();
    let must = cases().filter(|case| case.level == Level::Must);
    let idle: Vec<&str> = must.map(|case| case.id).filter(|id| !caught.contains(id)).collect();
    assert!(idle.is_empty(), "cases that catch nothing: {idle:#?}");
}
