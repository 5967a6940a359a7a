// Orders in PostgreSQL with node-postgres: an order and the event about it are one transaction.
//
//     node orders_postgres.mjs postgres://shop:secret@localhost/shop
import pg from "pg";

const db = new pg.Client({ connectionString: process.argv[2] });
await db.connect();

async function transaction(work) {
  await db.query("BEGIN");
  try {
    await work();
    await db.query("COMMIT");
  } catch (error) {
    await db.query("ROLLBACK");
    throw error;
  }
}

async function placeOrder(number) {
  const event = {
    type: "track",
    event: "Order placed",
    userId: `customer-${number % 7}`,
    properties: { number },
  };
  await transaction(async () => {
    await db.query("INSERT INTO orders (number) VALUES ($1)", [number]);
    await db.query("SELECT postrider.enqueue($1, $2, $3)", ["shop", JSON.stringify(event), `order-${number}`]);
    await charge(number);
  });
}

class Declined extends Error {}

async function charge(number) {
  if (number % 5 === 0) throw new Declined();
}

const { rows } = await db.query("SELECT coalesce(max(number), 0) AS last FROM orders");
for (let number = Number(rows[0].last) + 1; ; number++) {
  try {
    await placeOrder(number);
    console.log(`placed ${number}`);
  } catch (error) {
    if (!(error instanceof Declined)) throw error;
    console.log(`declined ${number}`);
  }
}
