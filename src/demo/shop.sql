-- The demo's database: a small mail-order shop, as an application might have grown it.

-- Reference data. Nobody changes it while the demo runs.
create table carriers (
    code text primary key,
    name text not null,
    tracking_url text
);

create table customers (
    id integer primary key,
    email text not null unique,
    name text not null,
    is_regular boolean not null default 0 check (is_regular in (0, 1)),
    note text,
    created_at timestamp not null default current_timestamp
);

create table products (
    sku text primary key,
    title text not null,
    price_cents integer not null check (price_cents >= 0),
    weight_kg real,
    stock integer not null default 0
);

create table orders (
    id integer primary key autoincrement,
    number text not null unique,
    customer_id integer not null references customers (id) on delete cascade,
    status text not null default 'new' check (status in ('new', 'paid', 'shipped', 'cancelled')),
    total_cents integer not null default 0,
    placed_at timestamp not null default current_timestamp,
    updated_at timestamp
);
create index orders_by_status on orders (status, placed_at desc);
create index orders_by_customer on orders (customer_id);
create index orders_open on orders (placed_at) where status = 'new';

create table order_items (
    order_id integer not null references orders (id) on delete cascade,
    line integer not null,
    sku text not null references products (sku) on update cascade,
    quantity integer not null check (quantity > 0),
    price_cents integer not null,
    primary key (order_id, line)
);
create index order_items_by_sku on order_items (sku);

create table shipments (
    id integer primary key autoincrement,
    order_id integer not null unique references orders (id) on delete cascade,
    carrier text not null references carriers (code),
    tracking text unique,
    label blob,
    shipped_at timestamp not null default current_timestamp
);

create table shelves (
    id integer primary key,
    place text not null,
    sku text references products (sku) on update cascade on delete set null
);
create unique index shelves_by_place on shelves (place);

create table settings (
    name text primary key,
    value text,
    changed_at timestamp not null default current_timestamp
) without rowid;

create table accounts (
    id integer primary key,
    owner text not null,
    balance_cents integer not null
);

create table transfers (
    id integer primary key autoincrement,
    payer integer not null references accounts (id),
    payee integer not null references accounts (id),
    amount_cents integer not null check (amount_cents > 0),
    made_at timestamp not null default current_timestamp
);

-- No key at all.
create table stock_log (
    sku text not null,
    change integer not null,
    logged_at timestamp not null default current_timestamp
);

-- The application's own triggers.
create trigger order_items_added after insert on order_items begin
    update orders set total_cents = total_cents + new.quantity * new.price_cents
     where id = new.order_id;
end;
create trigger orders_changed after update of status on orders begin
    update orders set updated_at = current_timestamp where id = new.id;
end;
create trigger products_counted after update of stock on products begin
    insert into stock_log (sku, change) values (new.sku, new.stock - old.stock);
end;
