//! Activations with nobody asking: what one costs, without the noise of a load.

use super::router::{Ours, Router as _};
use super::table::{Home, MODELS};
use super::{Fault, Refusal};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Does `count` activations in this process and prints what one took.
///
/// Run it below `strace -f -c -e trace=fsync,fdatasync` to count flushes, and below `valgrind
/// --tool=callgrind` to count instructions.
pub(crate) fn run(count: u64) -> Result<(), Refusal> {
    let scratch = tempfile::tempdir()?;
    let home = Home(scratch.path().join("alone"));
    home.found()?;
    let router = Ours::open(&home)?;
    let (begun, busy) = (Instant::now(), busy());
    for (number, _) in (1..=MODELS).cycle().skip(1).zip(0..count) {
        router.activate(&format!("v{number}"), &Fault::None)?;
    }
    router.finish();
    let each = |took: Duration| {
        let micros = took.as_micros() / u128::from(count.max(1));
        format!("{}.{:02}", micros / 1_000, micros % 1_000 / 10)
    };
    let (took, busy) = (begun.elapsed(), self::busy().saturating_sub(busy));
    println!("| activations, nobody asks | milliseconds each | of processor time |");
    println!("|---|---|---|");
    println!("| {count} | {} | {} |", each(took), each(busy));
    Ok(())
}

/// Processor time of this process.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
