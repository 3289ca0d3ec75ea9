//! Computes the time to decode a layer on machines with more cores than this one: `inflate_schedule READ ORDER AHEAD
//! RESOLVE TAKE`.
//!
//! The arguments are milliseconds on one core for each megabyte of output: reading and hashing the compressed bytes,
//! decoding in order, decoding ahead, resolving its marks, and processing the output. Threads that can run share the
//! cores equally, and queues are as long as in the library. The model has no other load, no shared caches or memory
//! bus, and no wrong guesses, so the result is a lower bound.
#![allow(clippy::print_stdout)]

/// The output of the layer and of a piece in megabytes.
const LAYER: f64 = 600.0;
const PIECE: f64 = 1.4;

/// The most pieces that wait to be used.
const TAKEN: usize = 4;

/// As in the library's budget.
const MAX_WORKERS: usize = 6;
const MAX_PIECES: usize = 8;

struct Costs {
    read: f64,
    order: f64,
    ahead: f64,
    resolve: f64,
    take: f64,
}

fn main() {
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let [read, order, ahead, resolve, take] = numbers[..] else { panic!("five numbers are needed") };
    let costs = Costs { read, order, ahead, resolve, take };
    println!("| cores | in order | ahead | gain | decoding only, ahead | gain |");
    println!("|---|---|---|---|---|---|");
    for cores in [2, 4, 8, 16] {
        // In order, one thread reads and decodes, and another uses the output.
        let all = costs.read + costs.order + costs.take;
        let before = (costs.read + costs.order).max(costs.take).max(all / cores as f64) * LAYER;
        let after = simulate(&costs, cores);
        let alone = simulate(&Costs { read: costs.read * 0.1, take: 0.05, ..costs }, cores);
        println!(
            "| {cores} | {before:.0} ms | {after:.0} ms | {:.2} | {alone:.0} ms | {:.2} |",
            before / after,
            costs.order * LAYER / alone
        );
    }
}

/// The work of a thread on a piece, with the milliseconds left.
#[derive(Clone, Copy)]
enum Task {
    Read(f64),
    Ahead(usize, f64),
    Resolve(f64),
    Take(f64),
}

/// Returns the milliseconds to the end of the layer.
fn simulate(costs: &Costs, cores: usize) -> f64 {
    let pieces = (LAYER / PIECE) as usize;
    let workers = (cores - 1).min(MAX_WORKERS);
    let (mut read, mut begun, mut resolved, mut taken) = (0, 0, 0, 0);
    let (mut reading, mut resolving, mut taking) = (false, false, false);
    let mut done = vec![false; pieces];
    let mut running: Vec<Task> = Vec::new();
    let mut now = 0.0;
    while taken < pieces {
        if !reading && read < pieces && read < resolved + 2 * workers + 2 {
            reading = true;
            running.push(Task::Read(costs.read * PIECE));
        }
        let busy = running.iter().filter(|task| matches!(task, Task::Ahead(..))).count();
        for _ in busy..workers {
            if begun < read && begun < resolved + 2 * workers && begun < taken + MAX_PIECES {
                running.push(Task::Ahead(begun, costs.ahead * PIECE));
                begun += 1;
            }
        }
        if !resolving && resolved < pieces && done[resolved] && resolved < taken + TAKEN + 1 {
            resolving = true;
            running.push(Task::Resolve(costs.resolve * PIECE));
        }
        if !taking && taken < resolved {
            taking = true;
            running.push(Task::Take(costs.take * PIECE));
        }
        let rate = (cores as f64 / running.len() as f64).min(1.0);
        let least = running.iter().map(|task| task.left()).fold(f64::MAX, f64::min);
        now += least / rate;
        running.retain_mut(|task| {
            *task.left_mut() -= least;
            if task.left() > 1e-9 {
                return true;
            }
            match task {
                Task::Read(_) => (reading, read) = (false, read + 1),
                Task::Ahead(piece, _) => done[*piece] = true,
                Task::Resolve(_) => (resolving, resolved) = (false, resolved + 1),
                Task::Take(_) => (taking, taken) = (false, taken + 1),
            }
            false
        });
    }
    now
}

impl Task {
    fn left(&self) -> f64 {
        match self {
            Self::Read(left) | Self::Ahead(_, left) | Self::Resolve(left) | Self::Take(left) => *left,
        }
    }

    fn left_mut(&mut self) -> &mut f64 {
        match self {
            Self::Read(left) | Self::Ahead(_, left) | Self::Resolve(left) | Self::Take(left) => left,
        }
    }
}
