//! Accounts with a constant sum: whoever sees another sum has seen half a transaction.

use super::dice::Dice;

/// Makes the accounts.
pub fn schema(accounts: usize) -> String {
    format!(
        "CREATE TABLE account (id INTEGER PRIMARY KEY, owner TEXT NOT NULL UNIQUE, \
         balance INTEGER NOT NULL); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {accounts}) \
         INSERT INTO account SELECT i, 'owner ' || i, 1000 FROM n;"
    )
}

/// What all balances add up to, always.
pub fn sum(accounts: usize) -> i64 {
    1000 * i64::try_from(accounts).expect("few accounts")
}

/// The statements of one transfer, to be run in one transaction; it touches 2 to 5 rows.
pub fn transfer(accounts: usize, dice: &mut Dice) -> Vec<String> {
    let mut ids: Vec<usize> = (1..=accounts).collect();
    for at in (1..ids.len()).rev() {
        ids.swap(at, dice.below(at + 1));
    }
    ids.truncate(2 + dice.below(4));
    let amount = dice.below(100);
    let (payer, payees) = ids.split_first().expect("at least two");
    let add = |id: usize, amount: i64, by_replace: bool| {
        if by_replace {
            format!(
                "INSERT OR REPLACE INTO account SELECT id, owner, balance + {amount} \
                 FROM account WHERE id = {id}"
            )
        } else {
            format!("UPDATE account SET balance = balance + {amount} WHERE id = {id}")
        }
    };
    let amount = i64::try_from(amount).expect("below a hundred");
    let count = i64::try_from(payees.len()).expect("at most four");
    let mut statements: Vec<String> =
        payees.iter().map(|id| add(*id, amount, dice.percent(20))).collect();
    let at = dice.below(statements.len() + 1);
    statements.insert(at, add(*payer, -amount * count, dice.percent(20)));
    if dice.percent(10) {
        // An account changes hands and names: two keys, still one sum.
        let payee = payees[0];
        statements.push(format!("UPDATE account SET id = -id WHERE id IN ({payer}, {payee})"));
        statements.push(format!(
            "UPDATE account SET id = CASE id WHEN -{payer} THEN {payee} ELSE {payer} END \
             WHERE id < 0"
        ));
    }
    statements
}
