create table d (a int default -1, b int default '7', c text default 5, d text default "quoted", e text default bare,
    f real default 1, g real default -.5, h numeric default '1.50', i blob default x'', j text default null,
    k int default (1 + 2 * 3), l text default ('a' || 'b'), m bool default true, n bool default (false), o text default (current_date),
    p text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), q int default (strftime('%s', 'now')), r int default (random()),
    s text default (lower(hex(randomblob(4))) || '-' || substr(hex(randomblob(2)), 2) || '-' || substr('89ab', abs(random()) % 4 + 1, 1)),
    t real default (julianday('now')), u text default (datetime('now', 'localtime')), v int default 'abc', w int default (coalesce(null, 3)),
    x text default (time('now')), y int default (abs(-3)), z datetime default (datetime(current_timestamp)), aa int default +5, bb int default 0x1F,
    cc text default (cast(12 as text)), dd int default 9223372036854775807, ee real default 9e15, ff date default (date()), gg int default (7 / 2), hh text default (json_array()));
