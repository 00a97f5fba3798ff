//! The same work on many items, on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Items that a thread takes at once: enough that taking costs nothing.
const BATCH: usize = 32;

/// Does `work` on each item; the answers are in the order of the items.
pub(super) fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut batches = Vec::new();
        loop {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(rest) = items.get(from..).filter(|rest| !rest.is_empty()) else {
                return batches;
            };
            let answers: Vec<R> = rest.iter().take(BATCH).map(&work).collect();
            batches.push((from, answers));
        }
    };
    let threads = threads.min(items.len().div_ceil(BATCH));
    let mut batches = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
        let mut batches = take();
        for other in others {
            batches.extend(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        batches
    });
    batches.sort_by_key(|(from, _)| *from);
    batches
        .into_iter()
        .flat_map(|(_, answers)| answers)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items() {
        for count in [0, 1, BATCH, 1000] {
            let items: Vec<usize> = (0..count).collect();
            for threads in [1, 2, 7] {
                let answers = in_parallel(threads, &items, |item| item + 1);
                assert_eq!(answers, (1..=count).collect::<Vec<_>>());
            }
        }
    }
}
