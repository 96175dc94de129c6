create table e (
    i integer check (i between 0 and 10 and i <> 5), j int check (j is not null or i is null),
    t text check (length(t) <= 20), u text collate nocase check (u <> 'ADMIN' and u like 'A%'),
    r real check (r >= 0.5 and r * 2 < 1e3), m decimal(8,2) check (m > 0), b blob check (length(b) = 16),
    d date check (d is not null), e text check (e like '%_@_%._%'), z text check (z glob '[0-9][0-9]:*'),
    g text as (upper(t) || '-' || i) stored, h integer as (i * 2 + length(t)), k as (i > 3),
    l text as (substr(t, 2, 3)), n real as (i / 2.0), o as (h + 1), q text as (date(d)),
    check (typeof(i) in ('integer', 'null')), check (case when i > 3 then j > 0 else 1 end),
    check (coalesce(j, 0) in (0, 1)), check (i % 2 = 0 or i is null), check ((i > 0) + (j > 0) <= 1),
    check (iif(i, j, 1)), check (not (i = 1 and j = 1)), check (i), check (max(i, j) < 100),
    check (t = trim(t) and instr(t, ' ') = 0), check (t is not 'x'), check (i == '3' or t != 5),
    check (nullif(i, 0) is not null), check (abs(i) < 50), check (cast(i as text) <> '7'),
    check (i & 3 = 1 or ~i > 0 or i << 2 > 4), check (replace(t, 'a', '') > ''), check (r is null or r > i),
    check (json_valid(t)), check (d > '2020-01-01'), check (round(r) = r), check (t)
);
create index e1 on e (lower(u)); create index e2 on e (i + j, t collate nocase desc) where u is not null and i > 3;
create unique index e3 on e (t collate rtrim, u, coalesce(j, -1)); create index e4 on e (i, i desc);
create index e5 on e (r, m, b, d collate nocase); create unique index e6 on e (t || u) where t like 'x%';
create index e7 on e (json_extract(t, '$.a')); create index e8 on e (abs(i), length(t), -i, i > 3, hex(b));
