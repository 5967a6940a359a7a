//! Fair shares of a bounded resource: the more a holder has, the more must stay free. One alone gets three
//! quarters, two get three sevenths each, and there is always room for one more.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many times of what stays free a holder may have.
const TIMES_FREE: usize = 3;

/// A bounded amount and who holds how much of it.
#[derive(Debug)]
pub struct FairShare<K> {
    limit: usize,
    held: Mutex<Amounts<K>>,
}

#[derive(Debug)]
struct Amounts<K> {
    total: usize,
    by_holder: HashMap<K, usize>,
}

impl<K: Copy + Eq + Hash> FairShare<K> {
    /// A resource of this size.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::new(Amounts { total: 0, by_holder: HashMap::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Amounts<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an amount; false, and nothing is taken, where the holder would have more than its share. What is
    /// larger than everything is let through while nothing else is held.
    #[must_use]
    pub fn take(&self, holder: K, amount: usize) -> bool {
        let mut held = self.lock();
        let own = held.by_holder.get(&holder).copied().unwrap_or(0);
        if !may_take(self.limit, held.total, own, amount) {
            return false;
        }
        held.total += amount;
        if amount > 0 {
            *held.by_holder.entry(holder).or_default() += amount;
        }
        true
    }

    /// Releases an amount that was taken.
    pub fn release(&self, holder: K, amount: usize) {
        if amount == 0 {
            return;
        }
        let mut held = self.lock();
        held.total = held.total.saturating_sub(amount);
        if let Some(own) = held.by_holder.get_mut(&holder) {
            *own = own.saturating_sub(amount);
            if *own == 0 {
                held.by_holder.remove(&holder);
            }
        }
    }

    /// What is held in total.
    #[must_use]
    pub fn total(&self) -> usize {
        self.lock().total
    }
}

/// Whether a holder of `own`, of `total` that all hold, may have `amount` more.
fn may_take(limit: usize, total: usize, own: usize, amount: usize) -> bool {
    if total == 0 {
        return true;
    }
    let Some(free) = total.checked_add(amount).and_then(|total| limit.checked_sub(total)) else {
        return false;
    };
    // A holder's first amount only has to fit.
    own == 0 || own.saturating_add(amount) <= free.saturating_mul(TIMES_FREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one by one until it is refused.
    fn fill(shared: &FairShare<u8>, holder: u8) -> usize {
        (0..).take_while(|_| shared.take(holder, 1)).count()
    }

    #[test]
    fn one_holder_gets_three_quarters_and_leaves_room_for_others() {
        let shared = FairShare::new(1_000);
        assert_eq!(fill(&shared, 1), 750);
        assert_eq!(fill(&shared, 2), 187, "three quarters of the rest");
        assert!(shared.take(3, 1));
        shared.release(1, 750);
        shared.release(2, 187);
        shared.release(3, 1);
        assert_eq!(shared.total(), 0);
        assert!(shared.lock().by_holder.is_empty(), "nothing is left of holders that are gone");
    }

    #[test]
    fn holders_that_take_in_turns_get_equal_shares() {
        let shared = FairShare::new(700);
        let mut taken = [0, 0];
        for turn in 0..2_000 {
            let holder = turn % 2;
            taken[usize::from(holder == 1)] += usize::from(shared.take(holder, 1));
        }
        assert_eq!(taken, [300, 300]);
    }

    #[test]
    fn an_amount_larger_than_all_is_taken_while_nothing_else_is_held() {
        let shared = FairShare::new(10);
        assert!(shared.take(1, 11));
        assert!(!shared.take(2, 1));
        shared.release(1, 11);
        assert!(shared.take(2, 1));
        assert!(!shared.take(1, 10), "it does not fit");
    }
}
