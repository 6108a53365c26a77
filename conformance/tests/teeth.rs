//! The suite has teeth: implementations with one defect each are caught by the cases, and those without pass.
//!
//! One test, in a program of its own: what the cases panic about is wanted here, and kept from the screen.

use std::collections::BTreeSet;

use eidetica_conformance::{Area, Level, cases, mutants, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defects_are_caught_and_what_is_sound_passes() {
    // At once: most of both is waiting.
    std::panic::set_hook(Box::new(|_| {}));
    let (report, kills) = tokio::join!(run(mutants::references()), mutants::kills(false));
    let _ = std::panic::take_hook();
    let (report, kills) = (report.unwrap(), kills.unwrap());
    assert!(report.certifies(), "{:#?}", report.problems());
    // Every case has run on one of them at least.
    let ran: BTreeSet<&str> = report.executed.iter().map(|one| one.case).collect();
    // Networks are put together of what certifies itself.
    let judged = || cases().filter(|case| case.area() != Area::Network);
    let never: Vec<&str> = judged().map(|case| case.id).filter(|id| !ran.contains(id)).collect();
    assert!(never.is_empty(), "cases that ran on no implementation without a defect: {never:?}");

    let escapes =
        kills.iter().flat_map(|kill| kill.escaped().into_iter().map(|case| format!("{} escapes {case}", kill.defect)));
    let escapes: Vec<String> = escapes.collect();
    assert!(escapes.is_empty(), "{escapes:#?}");
    let caught: BTreeSet<&str> = kills.iter().flat_map(|kill| kill.caught.iter().copied()).collect();
    let must = judged().filter(|case| case.level == Level::Must);
    let idle: Vec<&str> = must.map(|case| case.id).filter(|id| !caught.contains(id)).collect();
    assert!(idle.is_empty(), "cases that catch nothing: {idle:#?}");
}
